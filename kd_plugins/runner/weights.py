"""Check the weights of a checkpoint against a model, and load a trained model for evaluation."""

from __future__ import annotations

from typing import Any

from mmengine.model import is_model_wrapper
from torch import nn

from ..checkpoints import load_checkpoint, load_weights, weights_of
from ..errors import CheckpointError, ConfigError, nearest

STATISTICS = ('.running_mean', '.running_var')
"""Ends of the names of BatchNorm's statistics, which are no parameters and decide on predictions as well."""

FUSED = 'fused'
"""Key in the ``meta`` of a checkpoint, True for the weights of a fused model."""


def check_weights(model: nn.Module, checkpoint: dict[str, Any], path: str, key: str = 'checkpoint') -> list[str]:
    """Refuse a checkpoint that leaves parameters of the model at their random start.

    MMEngine only logs a warning, and the evaluation then reports an accuracy near zero.

    Args:
        model: The model, with or without its distributed wrapper.
        checkpoint: Result of :func:`~kd_plugins.checkpoints.load_checkpoint`.
        path: Its path, for error sentences.
        key: Config key for error sentences.

    Returns:
        Remarks on keys that the model does not use.

    Raises:
        CheckpointError: If parameters of the model are missing or have another shape.
    """
    if is_model_wrapper(model):
        model = model.module  # type: ignore[assignment]
    saved, current = weights_of(checkpoint), model.state_dict()
    for name, value in saved.items():
        if name in current and current[name].shape != value.shape:
            raise CheckpointError(
                f"{key}: '{path}' has shape {tuple(value.shape)} for '{name}' where the model has "
                f'{tuple(current[name].shape)}; another class or channel count is the usual cause'
            )
    statistics = [name for name in current if name.endswith(STATISTICS)]
    missing = [name for name in [*dict(model.named_parameters()), *statistics] if name not in saved]
    if missing:
        raise CheckpointError(
            f"{key}: '{path}' lacks {len(missing)} of the model's parameters (first: '{missing[0]}'), which "
            f'would stay at their random start; in the checkpoint, {nearest(missing[0], saved)}'
        )
    unused = [name for name in saved if name not in current]
    return (
        [f"'{path}' holds {len(unused)} weights that the model does not use (first: '{unused[0]}')"] if unused else []
    )


def fit_structure(model: nn.Module, checkpoint: dict[str, Any]) -> None:
    """Fuse a model in place if a checkpoint is that of a fused one, from ``kd_plugins deploy``.

    Args:
        model: The model, with or without its distributed wrapper.
        checkpoint: Result of :func:`~kd_plugins.checkpoints.load_checkpoint`.
    """
    if is_fused(checkpoint):
        from ..models.reparameterization import switch_to_deploy

        switch_to_deploy(model.module if is_model_wrapper(model) else model)  # type: ignore[arg-type]


def is_fused(checkpoint: dict[str, Any]) -> bool:
    """Return whether a checkpoint holds the weights of a fused model.

    >>> is_fused({'meta': {'fused': True}, 'state_dict': {}})
    True
    """
    meta = checkpoint.get('meta')
    return isinstance(meta, dict) and meta.get(FUSED) is True


def load_trained(model: nn.Module, path: str, device: str = 'cpu') -> dict[str, Any]:
    """Load the weights of a checkpoint into a model, move it to a device and put it into eval mode.

    Args:
        model: The model; changed in place.
        path: Checkpoint file, or a URL.
        device: Device to run on, for example ``'cuda'``.

    Returns:
        The checkpoint's ``meta``.

    Raises:
        CheckpointError: If the checkpoint does not belong to the model.
        ConfigError: If the device cannot be used.
    """
    from ..utils.cli import note

    checkpoint = load_checkpoint(path)
    fit_structure(model, checkpoint)
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
