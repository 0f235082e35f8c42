"""Build what every shipped config names, then run it for one step on generated images (``tools/preflight.py``).

A config whose OpenMMLab package is not installed is skipped and named.
"""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def shipped_configs() -> list[Path]:
    """Return every config that can be trained, sorted."""
    return sorted(path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts)


def needed_packages(text: str) -> list[str]:
    """Return the packages that a config inherits from (``mmdet::...``), in order of appearance.

    >>> needed_packages("_base_ = ['mmdet::_base_/default_runtime.py', '../x.py']")
    ['mmdet']
    """
    return [name for name in ('mmdet', 'mmpose', 'mmseg', 'mmdet3d') if f'{name}::' in text]


def build(path: Path) -> None:
    """Build everything that the config names and that needs neither data nor weights.

    Args:
        path: The config.
    """
    from mmengine.dataset import Compose
    from mmengine.registry import HOOKS, MODELS, DefaultScope, init_default_scope
    from mmengine.visualization import Visualizer

    Visualizer.get_instance('check_configs')  # some hooks ask for the current one when they are made
    config = Config.fromfile(path)
    init_default_scope(config.get('default_scope', 'mmengine'))
    with DefaultScope.overwrite_default_scope(config.get('default_scope', 'mmengine')):
        MODELS.build(config.model)
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            dataset: Any = config.get(loader, {}).get('dataset', {})
            if dataset.get('pipeline'):
                Compose(dataset.pipeline)
        for hook in [*config.get('default_hooks', {}).values(), *config.get('custom_hooks', [])]:
            if isinstance(hook, dict):
                HOOKS.build(hook)


def preflight(path: Path, config: Config) -> None:
    """Run one step of a config on generated images, in a process of its own.

    A frozen teacher whose checkpoint is not there yet (a run that has to be trained first) starts at random.

    Raises:
        RuntimeError: With the last lines of the report, if preflight found a problem.
    """
    command = [sys.executable, str(ROOT / 'tools' / 'preflight.py'), str(path), '--generated']
    distill = config.default_hooks.get('distill') or {}
    checkpoint = (distill.get('teacher') or {}).get('checkpoint')
    if checkpoint and not Path(checkpoint).is_file():
        command += ['--cfg-options', 'default_hooks.distill.teacher.checkpoint=None']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError('preflight: ' + ' | '.join((done.stdout + done.stderr).strip().splitlines()[-5:]))


def main() -> int:
    """Check all configs; return the exit status."""
    warnings.simplefilter('ignore')
    failed = 0
    for path in shipped_configs():
        name = path.relative_to(ROOT).as_posix()
        lacking = [package for package in needed_packages(path.read_text(encoding='utf-8')) if not find_spec(package)]
        if lacking:
            print(f'skip  {name}: {", ".join(lacking)} is not installed')
            continue
        start = time.monotonic()
        try:
            build(path)
            config = Config.fromfile(path)
            if 'distill' in config.get('default_hooks', {}) or str(config.model.type).startswith('kd_plugins.'):
                preflight(path, config)
        except Exception as error:  # every config is tried, and each says what is wrong
            failed += 1
            print(f'FAIL  {name}: {type(error).__name__}: {error}')
        else:
            print(f'ok    {name} ({time.monotonic() - start:.1f} s)')
    print(f'{failed} configs failed' if failed else 'all configs build and pass preflight')
    return int(bool(failed))


if __name__ == '__main__':
    sys.exit(main())
