"""Second stage of D-FINE's training: weaker augmentation, from the best weights of the first stage."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.dataset import Compose
from mmengine.dist import all_gather_object, barrier, broadcast_object_list, is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.model import is_model_wrapper

from ..checkpoints import load_checkpoint
from ..errors import CheckpointError, ConfigError, nearest
from ..ops.normalisation import inner_preprocessor
from ..registry import HOOKS
from ..utils.checks import check_choice, check_flag, check_integer
from ..utils.files import write_atomically
from .loop_epochs import is_iteration_loop
from .training_state import restore_training_state, save_training_state

BEST = 'best_stage1.pth'
RECORD = 'second_stage.json'
RULES = {'greater': 1.0, 'less': -1.0}
KEY = 'SecondStageHook'


@dataclass(frozen=True)
class Progress:
    """State of the hook after a validation.

    Attributes:
        epoch: Number of finished epochs.
        best: Best score since the last reload, None where there is none.
        best_epoch: Finished epochs of the file with the best weights of the first stage, None where there is none.
        reload: Whether the next epoch begins from that file.
    """

    epoch: int = 0
    best: float | None = None
    best_epoch: int | None = None
    reload: bool = False

    def after(self, epoch: int, score: float, sign: float, stop_epoch: int) -> Progress:
        """Return the progress after one more validation.

        Args:
            epoch: Number of finished epochs.
            score: The validated metric; NaN is never the best.
            sign: 1 where greater scores are better, -1 where smaller ones are.
            stop_epoch: Number of epochs of the first stage.

        >>> Progress(3, 0.5, 2).after(4, 0.4, 1.0, stop_epoch=3)  # worse, in the second stage
        Progress(epoch=4, best=None, best_epoch=2, reload=True)
        >>> Progress(4, None, 2, True).after(5, 0.4, 1.0, stop_epoch=3)  # the first one after a reload
        Progress(epoch=5, best=0.4, best_epoch=2, reload=False)
        """
        is_best = not math.isnan(score) and (self.best is None or sign * score > sign * self.best)
        if epoch <= stop_epoch:
            best_epoch = epoch if is_best else self.best_epoch
            return Progress(epoch, score if is_best else self.best, best_epoch)
        return Progress(epoch, score if is_best else None, self.best_epoch, reload=not is_best)


def plain_datasets(dataset: Any) -> Iterator[Any]:
    """Yield the data sets inside of wrappers such as ``RepeatDataset`` and ``ConcatDataset``."""
    members = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if members == [None]:
        yield dataset
        return
    for member in members:
        yield from plain_datasets(member)


def check_switch(loader: Any, pipeline: Sequence[dict[str, Any]]) -> None:
    """Refuse data sets that cannot get another pipeline, and a pipeline that cannot be built.

    Args:
        loader: The data loader.
        pipeline: Configs of the transforms.

    Raises:
        ConfigError: If a data set has no pipeline of MMEngine's kind, or a wrapper has steps of its own.
    """
    Compose(list(pipeline))
    mixing = next((wrapper for wrapper in wrappers(loader.dataset) if getattr(wrapper, 'pipeline', None)), None)
    if mixing is not None:
        raise ConfigError(
            f'{KEY}.pipeline: {type(mixing).__name__} of train_dataloader has steps of its own, which would go on; '
            'nearest: pipeline=None, and mmdet.YOLOXModeSwitchHook, which skips them'
        )
    for dataset in plain_datasets(loader.dataset):
        if not isinstance(getattr(dataset, 'pipeline', None), Compose):
            raise ConfigError(
                f'{KEY}.pipeline: {type(dataset).__name__} of train_dataloader has no pipeline that could be replaced; '
                'nearest: CocoDataset'
            )


def wrappers(dataset: Any) -> Iterator[Any]:
    """Yield the wrappers around the data sets of :func:`plain_datasets`."""
    members = [*(getattr(dataset, 'datasets', None) or []), getattr(dataset, 'dataset', None)]
    inner = [member for member in members if member is not None]
    if inner:
        yield dataset
    for member in inner:
        yield from wrappers(member)


def switch_pipeline(loader: Any, pipeline: Sequence[dict[str, Any]]) -> None:
    """Give the data sets of a loader another pipeline, in time for its next epoch.

    Args:
        loader: The data loader.
        pipeline: Configs of the transforms.

    Raises:
        ConfigError: See :func:`check_switch`.
    """
    check_switch(loader, pipeline)
    for dataset in plain_datasets(loader.dataset):
        dataset.pipeline = Compose(list(pipeline))
    # Workers that stay alive hold a copy of the data set; without their iterator, the loader starts new ones.
    if getattr(loader, 'persistent_workers', False):
        loader._iterator = None


@HOOKS.register_module()
class SecondStageHook(Hook):
    """End strong augmentation and multi-scale training at an epoch, and go on from the best weights so far.

    In the first stage, weights, average and optimizer are saved as ``best_stage1.pth`` in the work_dir whenever a
    validation is the best one. When ``stop_epoch`` epochs are finished,

    1. the training data get ``pipeline``;
    2. :class:`~kd_plugins.models.batch_resize.BatchListResize` without a ``stop_epoch`` of its own stops;
    3. weights, average (``EMAHook``) and optimizer moments of ``best_stage1.pth`` are loaded on every rank.

    In the second stage, an epoch whose validation is not the best one is undone: the next epoch begins from
    ``best_stage1.pth`` again. As in the release, the epoch after a reload counts as the best one, whatever its score.
    Learning rate and schedules go on. What the validations decided is kept in ``second_stage.json``, so that a resumed
    run does the same as an uninterrupted one. A ``DistillHook`` keeps the state of its teachers and adapters.

    Source: Peterande/D-FINE, src/solver/det_solver.py. The changes of the EMA decay there have no effect, because the
    decay is a closure over the first value; they are left out. The released run without a best file ends with an error
    at ``stop_epoch``; ``kd_plugins train`` and ``preflight`` look for the cause before the first step.

    Args:
        stop_epoch: Number of epochs of the first stage.
        pipeline: Pipeline of the training data in the second stage; None keeps that of the first.
        metric: Name of the metric that decides which validation is the best one.
        rule: ``'greater'`` or ``'less'``: which scores are better.
        reload_best: Whether the best weights are loaded; False only ends augmentation and multi-scale training.

    Raises:
        ConfigError: If an argument is out of range.
    """

    # After EMAHook has taken the average out of the model again, before CheckpointHook.
    priority = 'LOW'

    def __init__(
        self,
        stop_epoch: int,
        pipeline: Sequence[dict[str, Any]] | None = None,
        metric: str = 'coco/bbox_mAP',
        rule: str = 'greater',
        reload_best: bool = True,
    ) -> None:
        self.stop_epoch = check_integer(f'{KEY}.stop_epoch', stop_epoch, 1, 'valid: 72')
        self.pipeline = pipeline
        self.metric = metric
        self.sign = RULES[check_choice(f'{KEY}.rule', rule, tuple(RULES))]
        self.reload_best = check_flag(f'{KEY}.reload_best', reload_best)
        self.progress = Progress()
        self._record: list[dict[str, Any]] = []
        self._trains = False
        self._switched = False

    def before_train(self, runner: Any) -> None:
        """Stop multi-scale training in time, and take over the progress of a resumed run.

        Raises:
            ConfigError: If the run has no epochs, averages its weights after this hook, or cannot switch its pipeline.
            CheckpointError: If a run that is resumed in its second stage has no best weights.
        """
        if is_iteration_loop(runner):
            raise ConfigError(f'{KEY}: train_cfg counts iterations, and the stages are epochs; use by_epoch=True')
        later = runner.hooks[runner.hooks.index(self) :]
        if any(isinstance(hook, EMAHook) for hook in later):
            raise ConfigError(f"{KEY}: EMAHook has priority 'LOW' or less, and must run first; nearest: 'NORMAL'")
        if self.stop_epoch >= runner.max_epochs:
            runner.logger.warning(
                f'{KEY}.stop_epoch is {self.stop_epoch} and the run has {runner.max_epochs} epochs, so the second '
                'stage never begins.'
            )
        if self.pipeline is not None:
            # The switch comes after hours.
            check_switch(runner.train_dataloader, self.pipeline)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        preprocessor = inner_preprocessor(getattr(model, 'data_preprocessor', None))
        for augment in getattr(preprocessor, 'batch_augments', None) or []:
            if getattr(augment, 'stop_epoch', 0) is None:
                augment.stop_epoch = self.stop_epoch
        self._trains = True
        if runner.epoch:
            self._resume(runner)

    def after_train(self, runner: Any) -> None:
        """Leave later validations of the same runner alone."""
        self._trains = False

    def before_train_epoch(self, runner: Any) -> None:
        """Begin the second stage, or an epoch of it that starts from the best weights of the first.

        Raises:
            CheckpointError: If no rank, or not every rank, can read them.
        """
        if runner.epoch < self.stop_epoch:
            return
        if not self._switched:
            self._switched = True
            if self.pipeline is not None:
                switch_pipeline(runner.train_dataloader, self.pipeline)
            runner.logger.info(f'Epoch {runner.epoch + 1}: strong augmentation and multi-scale training end.')
        if self.reload_best and (runner.epoch == self.stop_epoch or self.progress.reload):
            self._reload(runner)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Save the best weights of the first stage, or decide whether the second stage goes back to them.

        Raises:
            ConfigError: If the validation does not give the metric.
        """
        if not self._trains or not metrics:  # without a single detection, CocoMetric gives no metric
            return
        if self.metric not in metrics:
            raise ConfigError(
                f"{KEY}.metric is '{self.metric}', which the validation lacks; {nearest(self.metric, metrics)}"
            )
        before = self.progress.best_epoch
        self.progress = self.progress.after(runner.epoch, float(metrics[self.metric]), self.sign, self.stop_epoch)
        if self.reload_best and self.progress.best_epoch not in (None, before):
            save_training_state(runner, runner.work_dir, BEST)
        self._record = [row for row in self._record if row['epoch'] < runner.epoch] + [asdict(self.progress)]
        if is_main_process():
            write_atomically(Path(runner.work_dir) / RECORD, json.dumps(self._record, indent=1).encode())

    def _resume(self, runner: Any) -> None:
        rows: list[Any] = [None]
        if is_main_process():
            path = Path(runner.work_dir) / RECORD
            rows[0] = json.loads(path.read_text(encoding='utf-8')) if path.is_file() else []
        broadcast_object_list(rows)
        self._record = [row for row in rows[0] if row['epoch'] <= runner.epoch]
        self.progress = Progress(**self._record[-1]) if self._record else Progress()
        if self.progress.epoch < runner.epoch:
            # The validation that followed the checkpoint, if any, did not end.
            self.progress = Progress(runner.epoch, self.progress.best, self.progress.best_epoch)
        if self.reload_best and runner.epoch >= self.stop_epoch:
            self._read_best(runner)

    def _read_best(self, runner: Any) -> dict[str, Any]:
        """Return the content of the file with the best weights, after all ranks have read it."""
        path = Path(runner.work_dir) / BEST
        barrier()  # the main rank may still write the file
        checkpoint, sentence = {}, None
        if self.progress.best_epoch is None:
            sentence = (
                f'{KEY}: no validation of the first stage ({self.stop_epoch} epochs) is recorded in '
                f"'{path.parent}', so there are no best weights to go on from; nearest: reload_best=False"
            )
        else:
            try:
                checkpoint = load_checkpoint(path, KEY)
            except CheckpointError as error:
                sentence = f'{error}; reload_best=False goes on without it'
        sentences = [other for other in all_gather_object(sentence) if other]
        if sentences:
            raise CheckpointError(sentences[0])
        return checkpoint

    def _reload(self, runner: Any) -> None:
        restore_training_state(runner, self._read_best(runner), f"{KEY}: '{BEST}'")
        runner.logger.info(
            f'Epoch {runner.epoch + 1} begins with weights, average and optimizer of epoch {self.progress.best_epoch}, '
            f'the best of the first stage.'
        )
        # With val_interval above 1, the next epoch begins before a validation has judged this one.
        self.progress = replace(self.progress, reload=False)
