"""Losses of a model's own head on other feature maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from .errors import TapError
from .utils.sample_fields import kept_fields


@contextmanager
def extracting(model: Any, maps: Sequence[Tensor]) -> Iterator[None]:
    """Let ``extract_feat`` of a model return given maps inside the context.

    Args:
        model: An OpenMMLab model.
        maps: What it returns, as a tuple.

    Raises:
        TapError: If the model has no ``extract_feat``, or it was not called.
    """
    name, calls = type(model).__name__, [0]
    if not callable(getattr(model, 'extract_feat', None)):
        raise TapError(f'{name} has no extract_feat, so its head cannot get other maps')

    def extract_feat(*_: Any, **__: Any) -> tuple[Tensor, ...]:
        calls[0] += 1
        return tuple(maps)

    before = vars(model).get('extract_feat')
    model.extract_feat = extract_feat
    try:
        yield
    finally:
        if before is None:
            del model.extract_feat
        else:
            model.extract_feat = before
    if not calls[0]:
        raise TapError(f'loss of {name} does not call extract_feat, so its head cannot get other maps')


def losses_on_maps(model: Any, maps: Sequence[Tensor], inputs: Any, samples: Any) -> Mapping[str, Any]:
    """Return the losses that a model computes from feature maps that are not its own.

    The model's ``loss`` runs as in training, with its assigners, samplers and second stage, and the gradient goes to
    the parameters of its head and to the maps. Hooks on the model itself are not called.

    Args:
        model: An OpenMMLab model whose ``loss`` begins with ``extract_feat``, as those of MMDetection do.
        maps: The maps, like the result of ``extract_feat``.
        inputs: Preprocessed images. They give nothing but their shape.
        samples: Data samples with the ground truth.

    Returns:
        The loss dict of the model.

    Raises:
        TapError: If the model cannot get other maps.

    >>> import torch
    >>> from torch import nn
    >>> class Model(nn.Module):
    ...     def extract_feat(self, inputs):
    ...         return (inputs,)
    ...
    ...     def loss(self, inputs, samples):
    ...         return {'loss': self.extract_feat(inputs)[0].mean()}
    >>> losses_on_maps(Model(), [torch.ones(2)], torch.zeros(2), None)
    {'loss': tensor(1.)}
    """
    with extracting(model, maps), kept_fields(samples):
        losses: Mapping[str, Any] = model.loss(inputs, samples)
    return losses
