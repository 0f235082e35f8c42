"""Run training steps of a runner one by one, with its hooks, its optimizer and its data loader."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.config import Config, ConfigDict

from ..config.data_checks import check_trainable
from ..config.hook_entries import distill_entry
from ..config.reading import read_config
from ..errors import ConfigError
from ..hooks import DistillHook
from ..teachers.collection import teacher_configs
from ..testing import strip_pretrained, unlabelled_dataset, use_generated_data
from ..utils.data_errors import NO_BATCH
from .launch import build_runner, without_strategy


def prepare_config(config: Config, work_dir: str, generated: bool) -> list[str]:
    """Change a training config for a run of a few steps: no evaluation, no download, no worker processes.

    Args:
        config: Changed in place.
        work_dir: A temporary folder.
        generated: Whether generated data replaces the data set.

    Returns:
        One remark for each checkpoint that is not loaded.

    Raises:
        ConfigError: If the strategy does not fit the distillers.
    """
    without_strategy(config)
    for key in ('val_cfg', 'val_dataloader', 'val_evaluator', 'test_cfg', 'test_dataloader', 'test_evaluator'):
        config[key] = None
    config.work_dir = work_dir
    config.experiment_name = work_dir.replace('.', '_')
    if config.get('visualizer'):
        # MMEngine keeps one visualizer per name and process, with the folder of the first run.
        config.visualizer.name = config.experiment_name
    config.log_level = 'ERROR'
    # MMEngine prints the config four times, where nobody reads it; laying out each print takes up to a second.
    object.__setattr__(config, '_format_python_code', False)
    config.launcher = 'none'
    config.resume = False
    config.randomness = {'seed': 0, **(config.get('randomness') or {})}
    if generated:
        use_generated_data(config)
    else:
        _without_workers(config.train_dataloader)
    unlabelled = (distill_entry(config) or {}).get('unlabelled')
    others = unlabelled.get('dataloader') if isinstance(unlabelled, dict) else None
    if isinstance(others, dict):
        _without_workers(others)
        if generated:
            # ``update`` would merge the two data sets.
            others['batch_size'], others['dataset'] = config.train_dataloader.batch_size, unlabelled_dataset(config)
    removed = [*strip_pretrained(config.model), *_strip_teachers(config)]
    return [f'{name} is not loaded here: the network starts with random weights' for name in removed]


def _without_workers(loader: dict[str, Any]) -> None:
    """Let this process read the data; changes the config of a loader in place."""
    for name in ('multiprocessing_context', 'prefetch_factor', 'timeout'):
        loader.pop(name, None)
    loader.update(num_workers=0, persistent_workers=False)


def _strip_teachers(config: Config) -> list[str]:
    """Remove pretrained weights from the configs of teachers without a checkpoint; return the removed keys."""
    removed: list[str] = []
    for key, teacher in teacher_configs(distill_entry(config) or {}).items():
        if teacher.get('checkpoint') is not None:
            continue
        if isinstance(teacher.get('model'), dict):
            removed += strip_pretrained(teacher['model'], f'{key}.model')
        if not isinstance(teacher.get('config'), str):
            continue
        config_of_teacher = read_config(teacher['config'], key=f'{key}.config')
        if 'model' in config_of_teacher:
            model, scope = config_of_teacher.model, config_of_teacher.get('default_scope')
            removed += strip_pretrained(model, f'{key}.config: model')
            teacher['config'] = ConfigDict(model=model, default_scope=scope)
    return removed


def drive(runner: Any, body: Callable[[], None]) -> None:
    """Run ``body`` in place of the training loop, between the set-up and the clean-up of ``runner.train()``.

    Args:
        runner: A runner whose ``train()`` has not been called yet.
        body: Called when the model is on its device with its weights initialised, and optimizer and hooks are built.
    """
    loop = runner.build_train_loop(runner._train_loop)

    def run() -> Any:
        runner.call_hook('before_train')
        runner.model.train()
        runner.call_hook('before_train_epoch')
        try:
            body()
        finally:
            runner.call_hook('after_train')
        return runner.model

    loop.run = run
    runner._train_loop = loop
    runner.train()


@contextmanager
def temporary_runner(config: Config, generated: bool) -> Iterator[tuple[Any, list[str]]]:
    """Build a runner with a temporary ``work_dir``; yield it and the remarks of :func:`prepare_config`.

    Raises:
        ConfigError: If the config cannot be trained.
    """
    check_trainable(config, str(config.filename))
    with TemporaryDirectory(prefix='kd_plugins_', ignore_cleanup_errors=True) as work_dir:
        remarks = prepare_config(config, work_dir, generated)
        yield build_runner(config), remarks


def distill_hook(runner: Any) -> DistillHook | None:
    """Return the DistillHook of a runner, or ``None``."""
    return next((hook for hook in runner.hooks if isinstance(hook, DistillHook)), None)


def batches(runner: Any, count: int) -> list[Any]:
    """Return up to ``count`` batches of the first epoch.

    Raises:
        ConfigError: If there is none.
    """
    collected: list[Any] = []
    for batch in runner.train_dataloader:
        collected.append(batch)
        if len(collected) == count:
            break
    if not collected:
        raise ConfigError(NO_BATCH)
    return collected


def train_step(runner: Any, index: int, batch: Any) -> dict[str, Any]:
    """Run one iteration with all hooks, as the training loop does.

    Args:
        runner: A runner inside :func:`drive`.
        index: 0-based iteration.
        batch: A batch; it may be changed in place, so give a copy of one that is needed again.

    Returns:
        The logged losses.
    """
    runner.call_hook('before_train_iter', batch_idx=index, data_batch=batch)
    outputs: dict[str, Any] = runner.model.train_step(batch, optim_wrapper=runner.optim_wrapper)
    runner.call_hook('after_train_iter', batch_idx=index, data_batch=batch, outputs=outputs)
    runner.train_loop._iter += 1
    return outputs


def copy_batch(batch: Any) -> Any:
    """Return a deep copy of a batch, which a step may change in place."""
    return copy.deepcopy(batch)
