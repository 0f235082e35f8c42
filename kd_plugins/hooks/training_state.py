"""Training state of a run in a file: weights, their average and the optimizer's moments, saved and taken back."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.hooks import EMAHook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict

from ..checkpoints import ATOMIC_BACKEND
from ..errors import CheckpointError

AVERAGED = 'module.'
"""Prefix of the weights in the state of an averaged model."""


def save_training_state(runner: Any, folder: str, name: str) -> None:
    """Save weights, average and optimizer of a run atomically; only the main rank writes.

    Args:
        runner: The runner, outside of a validation, during which the average is in the place of the weights.
        folder: Folder of the file.
        name: Name of the file.
    """
    runner.save_checkpoint(
        folder,
        name,
        save_param_scheduler=False,
        meta=dict(epoch=runner.epoch, iter=runner.iter),
        backend_args={'backend': ATOMIC_BACKEND},
    )


def restore_training_state(runner: Any, checkpoint: Mapping[str, Any], subject: str) -> None:
    """Take weights, average and the optimizer's moments back; schedules and counters of the run go on.

    Learning rate, weight decay and the other settings of the optimizer's groups keep their present values, because
    MMEngine's schedulers continue from them.

    Args:
        runner: The runner.
        checkpoint: Content of a file of :func:`save_training_state`.
        subject: First words of an error sentence: config key and file.

    Raises:
        CheckpointError: If the file holds no optimizer, or weights of another model.
    """
    if 'optimizer' not in checkpoint:
        raise CheckpointError(f'{subject} holds no optimizer; only a file that this run has saved can be taken back')
    # A shallow copy of a state dict keeps the versions of its modules.
    weights, average = (copy.copy(checkpoint.get(name) or {}) for name in ('state_dict', 'ema_state_dict'))
    # MMEngine saves the average as `state_dict`, and the trained weights in the place of the average.
    trained = {name.removeprefix(AVERAGED): value for name, value in average.items() if name.startswith(AVERAGED)}
    average.update({f'{AVERAGED}{name}': weights[name] for name in trained})
    weights.update(trained)
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    try:
        model.load_state_dict(weights)
        for hook in runner.hooks:
            if isinstance(hook, EMAHook) and average:
                hook.ema_model.load_state_dict(average)
    except RuntimeError as error:
        raise CheckpointError(
            f'{subject} holds the weights of another model: {" ".join(str(error).split())}'
        ) from error
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, OptimWrapperDict):
        for name, member in wrapper.items():
            _restore_moments(member, checkpoint['optimizer'][name])
    else:
        _restore_moments(wrapper, checkpoint['optimizer'])


def _restore_moments(wrapper: OptimWrapper, saved: Mapping[str, Any]) -> None:
    groups = wrapper.optimizer.param_groups
    present = [{name: value for name, value in group.items() if name != 'params'} for group in groups]
    wrapper.load_state_dict(dict(saved))
    for group, settings in zip(wrapper.optimizer.param_groups, present, strict=True):
        group.update(settings)
