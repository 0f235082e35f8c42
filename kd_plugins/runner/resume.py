"""Resume of a run: what its newest checkpoint lacks."""

from __future__ import annotations

import glob
import os
import re
from bisect import bisect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import IterBasedTrainLoop
from mmengine.runner.utils import calc_dynamic_intervals

from ..checkpoints import MARKER, is_readable, latest_checkpoint, load_checkpoint, without_leftovers
from ..config.data_checks import validates
from .processes import training_length
from .run_log import RunLog, metrics_at, read_run


class CutOffValidation(Hook):
    """Validate before the first step of a resumed run, because the run was stopped before this validation had ended.

    MMEngine saves a checkpoint first and validates afterwards, and a resumed run begins with the next epoch. Without
    this hook, the log and the choice of the best checkpoint would lack the validation.

    Args:
        path: The resumed checkpoint.
    """

    # The hooks that keep the best checkpoint and the averaged weights prepare themselves in before_train as well.
    priority = 'LOWEST'

    def __init__(self, path: str) -> None:
        self.path = path

    def before_train(self, runner: Any) -> None:
        """Validate."""
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook):
                hook.last_ckpt = self.path  # after a new best one, it saves the last one again, which names the best
        # While MMEngine validates, its information is that of the last step, which a metric may read.
        if not isinstance(runner.train_loop, IterBasedTrainLoop):
            runner.message_hub.update_info('epoch', runner.epoch - 1)
        runner.message_hub.update_info('iter', runner.iter - 1)
        runner.logger.info('The validation of the resumed checkpoint was cut off before, so the run begins with it.')
        runner.val_loop.run()


def lacks_validation(config: Config, path: str) -> bool:
    """Return whether the validation of a checkpoint was cut off, in the run that is resumed from it.

    Args:
        config: The resolved config, with its ``work_dir``.
        path: The checkpoint. One of another folder belongs to another run, which lacks nothing here.
    """
    folder = checkpoint_folder(config)
    if '://' in path or folder is None or Path(path).resolve().parent != folder.resolve():
        return False
    if not (config.train_cfg.get('max_epochs') or config.train_cfg.get('max_iters')):
        return False  # a loop of another package, whose validations are unknown
    checkpoint = load_checkpoint(path, '--resume')
    unit, _ = training_length(config)
    step = (checkpoint.get('meta') or {}).get(unit)
    return step is not None and not is_settled(checkpoint, step, config, read_run(config.work_dir))


def checkpoint_settings(config: Config) -> dict[str, Any]:
    """Return the settings of the config's CheckpointHook."""
    return dict((config.get('default_hooks') or {}).get('checkpoint') or {})


def checkpoint_folder(config: Config) -> Path | None:
    """Return the folder of a run's checkpoints, ``None`` for remote storage.

    Args:
        config: The resolved config, with its ``work_dir``.

    >>> checkpoint_folder(Config({'work_dir': 'runs/a', 'default_hooks': {'checkpoint': {'out_dir': 'big_disk'}}}))
    PosixPath('big_disk/a')
    """
    absolute, out_dir = os.path.abspath(config.work_dir), checkpoint_settings(config).get('out_dir')
    # MMEngine compares with the absolute work_dir, and appends its last part to any other folder.
    if out_dir is None or out_dir == absolute:
        return Path(config.work_dir)
    return None if '://' in str(out_dir) else Path(out_dir) / Path(absolute).name


def newest_checkpoint(config: Config) -> str | None:
    """Return the newest readable checkpoint of a run, wherever and under whichever name its CheckpointHook saves.

    For remote storage this is the path in MMEngine's file ``last_checkpoint``.

    Args:
        config: The resolved config, with its ``work_dir``.
    """
    folder, template = checkpoint_folder(config), checkpoint_settings(config).get('filename_tmpl')
    marker = Path(config.work_dir) / MARKER
    if folder is None:
        return (marker.read_text(encoding='utf-8').strip() if marker.is_file() else '') or None
    return newest_named(folder, template, marker)


def newest_named(folder: Path, template: str | None, marker: Path | None = None) -> str | None:
    """Return the newest readable checkpoint in a folder.

    Args:
        folder: The folder.
        template: The hook's ``filename_tmpl``, ``None`` for MMEngine's names.
        marker: See :func:`~kd_plugins.checkpoints.without_leftovers`; by default ``last_checkpoint`` in the folder.
    """
    if template is None:
        return latest_checkpoint(folder, marker)
    # The number is the only field, with any format: '{}', '{:03d}'. Without a field, each checkpoint replaces the last.
    before, field, after = re.findall(r'^([^{]*)(\{.*?\})?(.*)$', str(template))[0]
    if not field:
        return str(folder / before) if is_readable(folder / before) else None
    numbers = {
        path: path.relative_to(folder).as_posix().removeprefix(before).removesuffix(after)
        for path in folder.glob(f'{glob.escape(before)}*{glob.escape(after)}')
    }
    numbered = sorted(((int(number), path) for path, number in numbers.items() if number.isdigit()), reverse=True)
    numbered = without_leftovers(numbered, marker or folder / MARKER)
    return next((str(path) for _, path in numbered if is_readable(path)), None)


def best_metrics(config: Config) -> list[str]:
    """Return the metrics whose best checkpoint is saved.

    >>> best_metrics(Config({'default_hooks': {'checkpoint': {'save_best': 'coco/AP'}}}))
    ['coco/AP']
    """
    named = checkpoint_settings(config).get('save_best') or []
    return [named] if isinstance(named, str) else list(named)


def best_key(prefix: str, config: Config, metric: str) -> str:
    """Return the name under which CheckpointHook keeps a score or a path in the message hub."""
    return prefix if len(best_metrics(config)) == 1 else f'{prefix}_{metric}'


def runtime_info(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the runtime information that the hooks of a run saved in a checkpoint."""
    return dict((checkpoint.get('message_hub') or {}).get('runtime_info') or {})


def is_validated(config: Config, step: int) -> bool:
    """Return whether the run validates after ``step`` epochs or iterations.

    >>> config = Config({'val_cfg': {'type': 'ValLoop'}, 'train_cfg': {'max_epochs': 5, 'val_interval': 2}})
    >>> [step for step in range(1, 6) if is_validated(config, step)]
    [2, 4, 5]
    """
    if not validates(config):
        return False
    unit, last = training_length(config)
    loop = config.train_cfg
    interval = loop.get('val_interval', 1 if unit == 'epoch' else 1000)
    changes = [tuple(change) for change in loop.get('dynamic_intervals') or []]
    starts, intervals = calc_dynamic_intervals(interval, changes or None)
    interval = intervals[bisect(starts, step + 1) - 1]
    return step >= loop.get('val_begin', 1) and (step % interval == 0 or step == last)


def is_settled(checkpoint: Mapping[str, Any], step: int, config: Config, log: RunLog) -> bool:
    """Return whether the validation after a checkpoint is complete, and its best checkpoint saved.

    A checkpoint is saved before its validation. A run that is killed between both, and resumed from that checkpoint,
    skips the validation, and with it possibly the best checkpoint.
    """
    if not is_validated(config, step):
        return True
    row = metrics_at(log, step)
    if not row:
        return step in log.empty
    known = best_metrics(config)
    rules = checkpoint_settings(config).get('rule')
    for index, name in enumerate(known):
        metric = next(iter(row), '') if name == 'auto' else name
        if metric not in row:
            return False
        rule = rules if rules is None or isinstance(rules, str) else rules[index % len(rules)]
        limits = {key: checkpoint_settings(config).get(key) for key in ('greater_keys', 'less_keys')}
        hook = CheckpointHook(save_best=metric, rule=rule, **limits)
        best = runtime_info(checkpoint).get(best_key('best_score', config, name))
        if best is None or hook.is_better_than[metric](row[metric], best):
            return False
    return True
