"""Estimate the Fisher information of a task at the end of its training, for anchors of later tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from mmengine.hooks import EarlyStoppingHook, EMAHook, Hook
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from ..errors import ConfigError
from ..ops.fisher import KEY, fisher_record, squared_gradients
from ..ops.normalisation import inner_preprocessor
from ..registry import HOOKS
from ..tap_paths import PARAMETERS, TapPath, check_parameter_taps
from ..taps import match_parameters
from ..utils.checks import check_integer
from ..utils.loss_dicts import loss_sum
from ..utils.rng import position_seed, seeded_rng
from .distill_hook import DistillHook
from .run_checks import student_of

NAME = 'custom_hooks: FisherHook'
WITH_DROPOUT = ('DropPath', 'MultiheadAttention')
"""Names of modules that drop parts of their input in train mode by themselves."""


@HOOKS.register_module()
class FisherHook(Hook):
    r"""Diagonal of the empirical Fisher information of a task, estimated after the last step of its training.

    .. math:: F_j = \frac{1}{N} \sum_n \left(\frac{\partial L(x_n, y_n)}{\partial \theta_j}\right)^2

    over N training images n, each with its own gradient of the task's loss L. It is saved as ``checkpoint['fisher']``
    beside the weights of the last checkpoint, and ``checkpoint['state_dict']`` stays that of a plain run.
    :class:`~kd_plugins.distillers.ParameterAnchor` with ``method='ewc'`` reads it.

    The images go through the pipeline of the training data, with random numbers that depend on seed and image alone.
    Steps on whole batches (``batch_augments``) are left out. Each rank measures all images, since the losses of
    detectors average their normalisers over the ranks; so any number of ranks gives the same. Normalisation layers use
    their running statistics, and dropout is off. Nothing of the run changes. Parameters without gradient are left out.

    Source: arXiv 1612.00796. The released code of rehearsal-free continual learning
    (GT-RIPL/DataFree-ContinualLearning) squares the mean gradient of a batch, which is too small by up to the size of
    the batch.

    Args:
        parameters: Tap of the parameters, ``'param:PATH'``, or a list of taps.
        images: Number of images, evenly spaced in the data set; None takes all.

    Raises:
        ConfigError: If an argument or the run does not fit.
    """

    priority = 'LOW'

    def __init__(self, parameters: str | list[str] = 'param:backbone.**', images: int | None = None) -> None:
        taps = [TapPath.parse(path, f'{NAME}.parameters') for path in check_parameter_taps(NAME, parameters)]
        self.paths = [tap.module for tap in taps]
        self.images = images
        if images is not None:
            check_integer(f'{NAME}.images', images, 1, 'valid: None, 256')
        self.record: dict[str, Any] | None = None

    def before_train(self, runner: Any) -> None:
        """Refuse a run whose information could not be measured at its end."""
        self.record = None
        self._parameters(student_of(runner))
        if any(isinstance(hook, EMAHook) for hook in runner.hooks):
            raise ConfigError(
                f'{NAME} measures the weights of the run, and EMAHook saves their average; leave EMAHook out'
            )
        if any(isinstance(hook, EarlyStoppingHook) for hook in runner.hooks):
            raise ConfigError(
                f'{NAME} measures in the last iteration, which EarlyStoppingHook may leave out; remove it, and set '
                'max_epochs or max_iters'
            )
        if not hasattr(getattr(runner.train_dataloader, 'dataset', None), '__len__'):
            raise ConfigError(f'{NAME} needs images by their index, and train_dataloader.dataset has no length')

    def _parameters(self, student: nn.Module) -> dict[str, nn.Parameter]:
        matched = [pair for path in self.paths for pair in match_parameters(student, path, f'{NAME}.parameters')]
        trained = {name: one for name, one in matched if one.requires_grad}
        if not trained:
            raise ConfigError(
                f"{NAME}.parameters: '{PARAMETERS}{self.paths[0]}' names {len(matched)} parameters, and none is "
                f"trained; nearest: '{PARAMETERS}**'"
            )
        return trained

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Measure after the last iteration, on all ranks, before the checkpoint is saved."""
        if runner.iter + 1 == runner.max_iters:
            self.record = self._measure(runner)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Add the information to the last checkpoint."""
        if self.record is not None:
            checkpoint[KEY] = self.record

    def _measure(self, runner: Any) -> dict[str, Any]:
        student = student_of(runner)
        parameters = self._parameters(student)
        length = len(runner.train_dataloader.dataset)
        count = min(self.images or length, length)
        indices = [at * length // count for at in range(count)]
        silent = next((hook.session.silent() for hook in runner.hooks if _distills(hook)), nullcontext())
        with silent, _fixed_statistics(student), _without_batch_augments(student), torch.enable_grad():
            sums = squared_gradients(_losses(runner, student, indices), list(parameters.values()))
        information = {name: (total / count).cpu() for name, total in zip(parameters, sums)}
        wrong = next((name for name, one in information.items() if not bool(one.isfinite().all())), None)
        if wrong is not None:
            raise ConfigError(
                f"{NAME}: the squared gradient of '{wrong}' is not finite; the training has diverged, or its loss is "
                'undefined for an image without objects'
            )
        entries = sum(one.numel() for one in information.values())
        mean = sum(float(one.double().sum()) for one in information.values()) / entries
        runner.logger.info(
            f'{NAME}: information of {entries} weights in {len(information)} parameters from {count} images, '
            f'mean {mean:.3g}, largest {max(float(one.max()) for one in information.values()):.3g}.'
        )
        return fisher_record(information, count)


def _distills(hook: Hook) -> bool:
    return isinstance(hook, DistillHook) and hook.session is not None


def _losses(runner: Any, student: Any, indices: Sequence[int]) -> Iterator[Tensor]:
    """Yield the task loss of each image."""
    loader = runner.train_dataloader
    for index in indices:
        with seeded_rng(position_seed(runner.seed, KEY, index)):
            batch = loader.collate_fn([loader.dataset[index]])
            yield loss_sum(student._run_forward(student.data_preprocessor(batch, True), mode='loss'))


@contextmanager
def _fixed_statistics(model: nn.Module) -> Iterator[None]:
    """Put a network into train mode, but normalisation layers and dropout into eval mode, and restore all modes."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.train()
        for module, _ in modes:
            if isinstance(module, (_NormBase, _DropoutNd)) or type(module).__name__ in WITH_DROPOUT:
                module.training = False
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _without_batch_augments(student: Any) -> Iterator[None]:
    """Switch off the steps of the preprocessor on whole batches, which draw sizes for the ranks or the next batches."""
    preprocessor = inner_preprocessor(getattr(student, 'data_preprocessor', None))
    steps = getattr(preprocessor, 'batch_augments', None)
    if steps is None:
        yield
        return
    preprocessor.batch_augments = None
    try:
        yield
    finally:
        preprocessor.batch_augments = steps
