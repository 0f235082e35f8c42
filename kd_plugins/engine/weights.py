"""Whether a checkpoint belongs to a model, before it is evaluated."""

from __future__ import annotations

from typing import Any

from mmengine.model import is_model_wrapper
from torch import nn

from ..checkpoints import weights_of
from ..errors import CheckpointError, nearest


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
