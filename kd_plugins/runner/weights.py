"""Trained models: whether a checkpoint belongs to one, and one that is ready to be looked at."""

from __future__ import annotations

from typing import Any

from mmengine.model import is_model_wrapper
from torch import nn

from ..checkpoints import load_checkpoint, load_weights, weights_of
from ..errors import CheckpointError, ConfigError, nearest


def check_weights(model: nn.Module, checkpoint: dict[str, Any], path: str) -> list[str]:
    """Refuse weights that would leave a part of the model at its random start.

    MMEngine only warns of them, and the evaluation then reports an accuracy near zero.

    Args:
        model: The model, with or without its distributed wrapper.
        checkpoint: What :func:`~kd_plugins.checkpoints.load_checkpoint` gave.
        path: Its path, for the sentence.

    Returns:
        Remarks on keys that the model does not use.

    Raises:
        CheckpointError: If parameters of the model are missing or have another shape.
    """
    if is_model_wrapper(model):
        model = model.module  # type: ignore[assignment]
    theirs, mine = weights_of(checkpoint), model.state_dict()
    for name, value in theirs.items():
        if name in mine and mine[name].shape != value.shape:
            raise CheckpointError(
                f"checkpoint: '{path}' has shape {tuple(value.shape)} for '{name}' where the model has "
                f'{tuple(mine[name].shape)}; another class or channel count is the usual cause'
            )
    missing = [name for name, _ in model.named_parameters() if name not in theirs]
    if missing:
        raise CheckpointError(
            f"checkpoint: '{path}' lacks {len(missing)} of the model's parameters (first: '{missing[0]}'), which "
            f'would be evaluated at their random start; in the checkpoint, {nearest(missing[0], theirs)}'
        )
    unused = [name for name in theirs if name not in mine]
    return (
        [f"'{path}' holds {len(unused)} weights that the model does not use (first: '{unused[0]}')"] if unused else []
    )


def load_trained(model: nn.Module, path: str, device: str = 'cpu') -> dict[str, Any]:
    """Give a model the weights of a checkpoint, put it onto a device and into eval mode.

    Args:
        model: The model; changed in place.
        path: Checkpoint file, or a URL.
        device: Where it is going to run.

    Returns:
        The checkpoint's ``meta``.

    Raises:
        CheckpointError: If the checkpoint does not belong to the model.
        ConfigError: If the device cannot be used.
    """
    from ..utils.cli import note

    checkpoint = load_checkpoint(path)
    for remark in check_weights(model, checkpoint, path):
        note(remark)
    load_weights(model, checkpoint, path, strict=False)
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--device: '{device}' cannot be used ({reason}); nearest: 'cpu'") from error
    model.eval()
    return checkpoint.get('meta') or {}
