"""Build what every shipped config names, then run it for one step on generated data (``kd_plugins preflight``).

Each config is checked in a process of its own, forked from one that has imported the large packages already. A config
whose OpenMMLab package is not installed is skipped and named. ``check_configs.py dwpose 'gfl/*ld'`` checks those
whose path has a match.
"""

from __future__ import annotations

import copy
import io
import multiprocessing
import os
import re
import sys
import tempfile
import time
import warnings
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from fnmatch import fnmatch
from importlib.util import find_spec
from itertools import compress
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from mmengine.config import Config

from kd_plugins.config.config_files import files_of
from kd_plugins.config.data_checks import check_classes
from kd_plugins.config.gpu_only import needs_gpu
from kd_plugins.config.loading import walk

ROOT = CHECKOUT = Path(__file__).resolve().parents[2]
# Package to what a config that needs it holds: a base of the package, a type of its registries, our parts on MONAI.
MARKS = {name: rf"'{name}::|type='{name}\.\w" for name in ('mmdet', 'mmpose', 'mmseg', 'mmdet3d')}
MARKS['timm'] = r"type='kd_plugins\.TimmBackbone'"
MARKS['monai'] = r"type='kd_plugins\.(VolumetricSegmentor|Monai\w+)'"
SAMPLES = 64
"""Largest number of boxes of a generated image, which has few objects, that a two-stage detector trains on."""
QUERIES = 100
"""Largest number of queries of a detector that takes a step: it needs images as large, at stride 8."""
SMALL = ('bccd', 'digits', 'hippocampus', 'isbi', 'lspet', 'scenes')
"""Data sets whose configs have small networks."""
SAME_STEP = ('dfine_[smlx]_custom.py', 'dfine_[smlx]_o365.py', 'dfine_[mlx]_o365-coco.py')
"""Configs that are built but take no step. Their networks, but for the classes, take it with dfine_[smlx]_coco.py, and
what these recipes change takes it with dfine_n_custom.py, dfine_n_o365.py and dfine_n_o365-coco.py."""
# Augmentations of packages that neither training on generated data nor evaluation needs.
OPTIONAL_STEPS = {'Albumentation': 'albumentations', 'LoadPanopticAnnotations': 'panopticapi'}


def shipped_configs(patterns: Sequence[str] = ()) -> list[Path]:
    """Return every config that can be trained, or those that match a pattern, sorted."""
    paths = sorted(path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts)
    names = [path.relative_to(ROOT / 'configs').as_posix() for path in paths]
    wanted = [not patterns or any(fnmatch(name, f'*{part}*') for part in patterns) for name in names]
    return list(compress(paths, wanted))


def needed_packages(path: Path) -> list[str]:
    """Return the packages that a config, its bases and its teacher need."""
    text = '\n'.join(file.read_text(encoding='utf-8') for file in files_of(path, ROOT / 'configs'))
    return [name for name, mark in MARKS.items() if re.search(mark, text)]


def build(config: Config, steps_follow: bool) -> list[str]:
    """Build everything that the config names and that needs neither data nor weights.

    Args:
        config: The config; building changes parts of it.
        steps_follow: Whether a step is taken afterwards, which builds the model itself.

    Returns:
        One sentence for each part that was left out because a package is not installed.
    """
    from mmengine.dataset import Compose
    from mmengine.registry import HOOKS, MODELS, DefaultScope, init_default_scope
    from mmengine.visualization import Visualizer

    Visualizer.get_instance('check_configs')  # some hooks ask for the current one when they are made
    init_default_scope(config.get('default_scope', 'mmengine'))
    left_out = set()
    with DefaultScope.overwrite_default_scope(config.get('default_scope', 'mmengine')):
        if not steps_follow:
            MODELS.build(config.model)
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            dataset: Any = (config.get(loader) or {}).get('dataset', {})
            steps = []
            for step in dataset.get('pipeline') or []:
                package = OPTIONAL_STEPS.get(str(step.get('type')))
                if package and not find_spec(package):
                    left_out.add(f"{package}, which '{step.type}' needs, is not installed")
                else:
                    steps.append(step)
            Compose(steps)
        for hook in [*config.get('default_hooks', {}).values(), *config.get('custom_hooks', [])]:
            if isinstance(hook, dict):
                HOOKS.build(hook)
    return sorted(left_out)


def failed_preflight(arguments: Sequence[str], lines: int) -> str:
    """Run preflight; return the last lines of its report where it fails, an empty string where it passes.

    Args:
        arguments: The words after ``kd_plugins preflight``.
        lines: Number of lines.
    """
    from kd_plugins.commands.preflight import main as run_preflight

    output = io.StringIO()
    with redirect_stdout(output), redirect_stderr(output):
        try:
            status = run_preflight(arguments)
        except SystemExit as stopped:
            status = int(stopped.code or 0)
    return ' | '.join(output.getvalue().strip().splitlines()[-lines:]) if status else ''


def random_checkpoint(config: Config, folder: str) -> str:
    """Return the path of a new checkpoint with random weights and information for the network of a config."""
    import torch
    from mmengine.registry import MODELS, DefaultScope

    from kd_plugins.ops.fisher import KEY, fisher_record

    with DefaultScope.overwrite_default_scope(config.get('default_scope', 'mmengine')):
        model = MODELS.build(copy.deepcopy(config.model))
    information = {name: torch.ones_like(one) for name, one in model.named_parameters()}
    file = Path(folder) / 'epoch_1.pth'
    torch.save({'state_dict': model.state_dict(), KEY: fisher_record(information, 1)}, file)
    return str(file)


def teachers_of(config: Config) -> dict[str, Any]:
    """Return the config key of each teacher of a config to its settings."""
    from kd_plugins.teachers.collection import teacher_configs

    return dict(teacher_configs(config.default_hooks.get('distill') or {}))


def less_work(config: Config) -> list[str]:
    """Return changes that let a detector train on few boxes or queries; no check depends on their number.

    A teacher that is another network has queries of its own config, which the images must suffice for.
    """
    changes = []
    for path, node in walk(config.model, 'model'):
        if path.endswith('.sampler') and (node.get('num') or 0) > SAMPLES:
            changes.append(f'{path}.num={SAMPLES}')
    others = [teacher for teacher in teachers_of(config).values() if teacher.get('config') or teacher.get('model')]
    if (config.model.get('num_queries') or 0) > QUERIES and not others:
        changes.append(f'model.num_queries={QUERIES}')
    return changes


def preflight(path: Path, config: Config) -> None:
    """Run one step of a config on generated data.

    A frozen teacher, or the model that a second stage starts from, has random weights if its checkpoint does not exist,
    and so does the earlier task of an anchor.

    Raises:
        RuntimeError: With the last lines of the report, if preflight found a problem.
    """
    changes = less_work(config)
    distill = config.default_hooks.get('distill') or {}
    for key, teacher in teachers_of(config).items():
        if teacher.get('checkpoint') and not Path(teacher['checkpoint']).is_file():
            changes.append(f'default_hooks.distill.{key}.checkpoint=None')
    if config.get('load_from') and not Path(config.load_from).is_file():
        changes.append('load_from=None')
    with tempfile.TemporaryDirectory(prefix='check_configs_') as folder:
        for name, distiller in (distill.get('distillers') or {}).items():
            if distiller and distiller.get('checkpoint') and not Path(distiller['checkpoint']).is_file():
                file = random_checkpoint(config, folder)
                changes.append(f'default_hooks.distill.distillers.{name}.checkpoint={file}')
        arguments = [str(path), '--generated', *(['--cfg-options', *changes] if changes else [])]
        problem = failed_preflight(arguments, lines=5)
    if problem:
        raise RuntimeError(f'preflight: {problem}')


def check(path: Path, answer: Any) -> None:
    """Check one config in this process.

    Args:
        path: The config.
        answer: A connection, to which a pair is sent: what failed, or ``''``, and what was left out.
    """
    warnings.simplefilter('ignore')
    failure, left_out = '', list[str]()
    try:
        config = Config.fromfile(path)
        if config.get('stages'):
            # The configs that it lists are shipped, and checked, on their own.
            from kd_plugins.stages.spec import read_stages, stage_config

            for stage in read_stages(config, str(path)):
                stage_config(stage, {})
        else:
            ours = 'distill' in config.get('default_hooks', {}) or str(config.model.type).startswith('kd_plugins.')
            lacking = needs_gpu(config)
            same = any(fnmatch(path.name, pattern) for pattern in SAME_STEP)
            left_out = build(copy.deepcopy(config), steps_follow=ours and not lacking and not same)
            if same:
                check_classes(config)
            elif lacking:
                left_out.append(f'no step was taken: {lacking}')
            elif ours:
                preflight(path, config)
    except Exception as error:  # one failure must not stop the others
        failure = f'{type(error).__name__}: {error}'
    answer.send((failure, left_out))


def apart(check: Callable[..., None], arguments: Sequence[Any], context: Any) -> Any:
    """Run a check in a process of its own; return what it answers, ``None`` where the process dies.

    Args:
        check: A function whose last argument is a connection, to which it sends one answer.
        arguments: Its other arguments.
        context: Of multiprocessing.
    """
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=check, args=(*arguments, theirs))
    process.start()
    theirs.close()
    try:
        answer = ours.recv()
    except EOFError:
        answer = None
    process.join()
    return answer


def warm_context() -> Any:
    """Return the context of multiprocessing whose processes have imported the large packages, where there is one."""
    if 'forkserver' not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context('spawn')
    context: Any = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['tools.setup.warmed'])
    path = os.environ.get('PYTHONPATH')
    os.environ['PYTHONPATH'] = os.pathsep.join([str(CHECKOUT), *([path] if path else [])])
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop('PYTHONPATH') if path is None else os.environ.update(PYTHONPATH=path)
    return context


def check_apart(path: Path, context: Any) -> tuple[str, list[str], float]:
    """Check one config in a process of its own.

    Args:
        path: The config.
        context: Of multiprocessing.

    Returns:
        What failed, or ``''``, what was left out, and the seconds that it took.
    """
    start = time.monotonic()
    failure, left_out = apart(check, (path,), context) or ('its process died', [])
    return failure, left_out, time.monotonic() - start


def main(arguments: Sequence[str] | None = None) -> int:
    """Check all configs; return the exit status."""
    parser = ArgumentParser(description='Build what each config names and run one step')
    parser.add_argument('patterns', nargs='*', help='parts of paths, with wildcards; by default every config')
    parser.add_argument('--jobs', type=int, default=1, help='configs at once; more than one get one CPU thread each')
    args = parser.parse_args(arguments)
    if args.jobs > 1:
        os.environ['OMP_NUM_THREADS'] = '1'  # the processes inherit it
    paths = shipped_configs(args.patterns)
    context = warm_context()
    failed, remarks = 0, Counter[str]()
    with ThreadPoolExecutor(max(args.jobs, 1)) as pool:
        lacking = {path: [package for package in needed_packages(path) if not find_spec(package)] for path in paths}
        # The large networks begin, so that no process is left alone with one at the end.
        order = sorted(paths, key=lambda path: any(name in path.stem for name in SMALL))
        waiting = {path: pool.submit(check_apart, path, context) for path in order if not lacking[path]}
        for path in paths:
            name = path.relative_to(ROOT).as_posix()
            if path not in waiting:
                print(f'skip  {name}: {", ".join(lacking[path])} is not installed')
                continue
            failure, left_out, seconds = waiting[path].result()
            failed += bool(failure)
            remarks.update(left_out)
            print(f'FAIL  {name}: {failure}' if failure else f'ok    {name} ({seconds:.1f} s)', flush=True)
    for remark, count in remarks.items():
        print(f'note: {remark} ({count} configs)')
    print(f'{failed} configs failed' if failed else f'{len(paths)} configs build and pass preflight')
    return int(bool(failed) or not paths)


if __name__ == '__main__':
    sys.exit(main())
