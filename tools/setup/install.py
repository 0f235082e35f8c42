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
import sys
import sysconfig
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools.setup.environment import Environment, InstallError, last_line, say

EXTRAS = ('pose', 'seg', 'det3d', 'volume')
TORCH = 'torch==2.13.0'
NO_DEPS = ('--no-deps',)
NO_ISOLATION = ('--no-build-isolation', '--no-deps')
# What MMCV and mmdet still import from setuptools (pkg_resources) is gone from setuptools 81.
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
DEV = (*CHECKERS, 'pytest>=8', 'pytest-xdist>=3.8', 'hatchling>=1.21', 'editables', 'transformers>=5,<6', *DOCS)
DEMO = ('pycocotools', 'matplotlib', 'rich', 'scipy', 'scikit-learn', 'shapely')


@dataclass(frozen=True)
class Step:
    """One call of pip: what it makes true, its options, and what a person should know while it runs."""

    title: str
    requirements: tuple[str, ...]
    options: tuple[str, ...] = ()
    note: str = ''


def extra_steps(extra: str, stack: dict[str, str]) -> list[Step]:
    """Return the steps of one optional extra.

    MMPose, MMSegmentation and MMDetection3D are installed without their own dependencies: those name packages that
    do not build (chumpy), are never imported (open3d) or would bring a torchvision that breaks a CPU torch.
    """
    if extra == 'pose':
        needs = ('json_tricks', 'munkres', 'scipy', 'matplotlib', 'pillow')
        # Its wheel was built for numpy 1 and fails beside numpy 2.
        source = ('--no-binary', 'xtcocotools', *NO_ISOLATION)
        return [
            Step('MMPose', ('mmpose==1.3.2',), NO_DEPS),
            Step("MMPose's needs", needs),
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
    return [Step('volume', ('monai>=1.3', 'nibabel', 'einops', 'scipy'))]


def carry_out(env: Environment, step: Step) -> None:
    """Install what a step lacks."""
    lacking = env.missing(step.requirements)
    if not lacking:
        return
    say(f'installing {step.title}: {", ".join(lacking)}' + (f' ({step.note})' if step.note else ''))
    if not env.pip(*step.options, *lacking):
        raise InstallError(f'{step.title} could not be installed; the end of the output:\n{env.tail()}')


def install_torch(env: Environment) -> None:
    """Install torch alone, a CPU build on a machine without an NVIDIA driver where an index offers one."""
    found = env.versions().get('torch')
    if found:
        return
    chosen = os.environ.get('KD_TORCH')
    candidates = [shlex.split(chosen)] if chosen else [[TORCH], ['torch']]
    if not chosen and not shutil.which('nvidia-smi'):
        candidates.insert(0, [f'{TORCH}+cpu'])
    for position, candidate in enumerate(candidates):
        say(f'installing {candidate[0]} (the largest download; once)')
        if env.pip(*candidate):
            return
        if 'No matching distribution' not in env.tail(200) or position + 1 == len(candidates):
            break
        say(
            f'  no package index has {candidate[0]} for this Python, so {candidates[position + 1][0]} is taken; '
            'on Linux that may be the build with several GB of CUDA libraries (KD_TORCH chooses another)'
        )
    raise InstallError(f'torch could not be installed; the end of the output:\n{env.tail()}')


def install_mmcv(env: Environment, requirement: str) -> None:
    """Install MMCV with its compiled ops: given wheel, pip's cache, or compiled here.

    A wheel in pip's cache was compiled against whatever torch was there then, so it is kept only if it imports.
    """
    works = 'import mmcv.ops'
    if env.run(works).returncode == 0:
        return
    wheel = os.environ.get('KD_MMCV_WHEEL')
    if wheel:
        say(f'installing MMCV from {wheel}')
        if not (env.pip('--force-reinstall', '--no-deps', wheel) and env.pip(wheel)):
            raise InstallError(f'KD_MMCV_WHEEL={wheel} could not be installed: {last_line(env.tail())}')
        answer = env.run(works)
        if answer.returncode:
            raise InstallError(f'KD_MMCV_WHEEL={wheel} does not fit the installed torch: {last_line(answer.stderr)}')
        return
    name = requirement.partition('=')[0]
    say(
        f"installing {requirement}: compiles MMCV's CPU ops against the installed torch, which takes 5 to 10 minutes "
        "on two cores and happens once (pip's cache or KD_MMCV_WHEEL spare it)"
    )
    check_compiler()
    for again in (False, True):
        fresh = ('--force-reinstall', '--no-deps', '--no-cache-dir', '--no-binary', name) if again else ()
        if again:
            say('  it does not fit the installed torch (an older build from the cache), so it is compiled afresh')
        if not env.pip('--no-build-isolation', *fresh, requirement):
            raise InstallError(f'MMCV could not be compiled; the end of the output:\n{env.tail()}')
        if env.run(works).returncode == 0:
            return
    raise InstallError(f'MMCV was installed but `import mmcv.ops` fails: {last_line(env.run(works).stderr)}')


def check_compiler() -> None:
    """Say what a compilation would miss, before it starts."""
    compilers = (os.environ.get('CXX', ''), 'c++', 'g++', 'clang++', 'cl')
    if not any(shutil.which(name.split()[0]) for name in compilers if name):
        raise InstallError('no C++ compiler was found; on Debian and Ubuntu `apt install g++` provides one.')
    if not (Path(sysconfig.get_paths()['include']) / 'Python.h').exists():
        raise InstallError("Python's headers were not found; on Debian and Ubuntu `apt install python3-dev` has them.")


def repair_opencv(env: Environment) -> None:
    """Take OpenCV without a GUI where the usual build misses the system's libGL."""
    answer = env.run('import cv2')
    if answer.returncode == 0 or 'opencv-python' not in env.versions():
        return
    say(f'OpenCV does not import here ({last_line(answer.stderr)}), so the build without a GUI is taken')
    if not env.pip('--force-reinstall', '--no-deps', 'opencv-python-headless'):
        raise InstallError(f'opencv-python-headless could not be installed; the end of the output:\n{env.tail()}')


def constrain(env: Environment, stack: dict[str, str]) -> None:
    """Keep every later step from exchanging torch or the build tools."""
    lines = [f'torch=={env.versions()["torch"]}', stack['setuptools']]
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
        if not env.pip('--no-build-isolation', '--no-deps', '--editable', str(ROOT)):
            raise InstallError(f'kd_plugins could not be installed; the end of the output:\n{env.tail()}')
    return project


def install(env: Environment, stack_name: str, extras: Iterable[str]) -> None:
    """Bring the environment to what is asked for; return at once where it is."""
    stamp = read_stamp(env)
    if stamp.get('stack', stack_name) != stack_name:
        raise InstallError(
            f'{env.path} holds the {stamp["stack"]} stack; give the {stack_name} stack its own folder: '
            f'make install STACK={stack_name} VENV=.venv-{stack_name}'
        )
    wanted = sorted({*stamp.get('extras', []), *extras})
    pins = [Path(__file__).read_text(encoding='utf-8'), (ROOT / 'pyproject.toml').read_text(encoding='utf-8')]
    key = digest(pins, stack_name, wanted, str(ROOT))
    if stamp.get('key') == key and stamp.get('contents') == env.contents():
        return
    start = time.monotonic()
    stack = STACKS[stack_name]
    env.create()
    carry_out(env, Step('pip', ('pip>=23.1',)))
    install_torch(env)
    constrain(env, stack)
    carry_out(env, Step('build tools', (stack['setuptools'], 'wheel', 'ninja', 'psutil', 'numpy', 'cython')))
    carry_out(env, Step('MMEngine', (stack['engine'],)))
    repair_opencv(env)
    install_mmcv(env, stack['mmcv'])
    carry_out(env, Step('MMDetection', (stack['det'],)))
    for extra in wanted:
        for step in extra_steps(extra, stack):
            carry_out(env, step)
    carry_out(env, Step('what the demo needs', DEMO))
    carry_out(env, Step('what the tests need', DEV))
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
    args = parser.parse_args(argv)
    extras = args.extras.replace(',', ' ').split()
    unknown = [extra for extra in extras if extra not in EXTRAS]
    try:
        if unknown:
            raise InstallError(f"there is no extra '{unknown[0]}'; valid: {', '.join(EXTRAS)} (det is always there)")
        install(Environment((ROOT / args.venv).absolute()), args.stack, extras)
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
