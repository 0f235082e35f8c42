"""Fusion of a trained model for inference, with its cost before and after and the difference of the outputs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import FlopCounterMode

from ..errors import ConfigError, KDPluginsError
from ..models.reparameterization import switch_to_deploy
from .images import smooth_images

TOLERANCE = 1e-5
"""Largest difference of the outputs in float64, relative to the largest output if that is above 1."""

RGB = 3
"""Channels of the images of most models."""


class Cost(NamedTuple):
    """Size of a model and cost of one image."""

    parameters: int
    flops: int
    """Operations of convolutions and matrix products, two for each multiply-add."""


class Fusion(NamedTuple):
    """Result of :func:`fuse`."""

    model: nn.Module
    """The fused model, in the dtype of the original one."""
    changed: int
    """Number of modules that were fused or dropped."""
    before: Cost
    after: Cost
    difference: float
    """Largest difference of the outputs of both models."""


def inference(model: nn.Module) -> Callable[[Tensor], Any]:
    """Return the function from normalised images to raw outputs.

    D-FINE and RT-DETR have one that computes what a prediction needs; of other models it is ``mode='tensor'``.
    """
    raw: Callable[[Tensor], Any] | None = getattr(model, 'raw_predictions', None)
    return raw or (lambda images: model(images, mode='tensor'))


def attention_flops(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    """Return the operations of both matrix products of an attention, from the shapes (N, heads, length, channels).

    >>> attention_flops((1, 2, 3, 4), (1, 2, 5, 4), (1, 2, 5, 4))
    480
    """
    images, heads, queries, channels = query
    return 2 * images * heads * queries * key[2] * (channels + value[3])


@torch.no_grad()
def measure(model: nn.Module, images: Tensor) -> tuple[Cost, list[Tensor]]:
    """Return the cost of one image and the raw outputs for some images.

    Args:
        model: In evaluation mode.
        images: Normalised images, (N, 3, H, W), in the dtype of the model.
    """
    # PyTorch does not count its attention kernel for CPUs.
    kernel = getattr(torch.ops.aten, '_scaled_dot_product_flash_attention_for_cpu', None)
    with FlopCounterMode(display=False, custom_mapping={kernel: attention_flops} if kernel else None) as counter:
        outputs = inference(model)(images)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    tensors = [value for value in tree_flatten(outputs)[0] if isinstance(value, Tensor)]
    return Cost(parameters, counter.get_total_flops() // len(images)), tensors


def difference(actual: list[Tensor], expected: list[Tensor]) -> float:
    """Return the largest difference of tensors, relative to the largest expected value if that is above 1.

    >>> difference([torch.tensor([2.0, 4.0])], [torch.tensor([2.0, 5.0])])
    0.20000000298023224
    """
    if [value.shape for value in actual] != [value.shape for value in expected]:
        return float('inf')
    pairs = [
        (value - wanted).abs().max() / wanted.abs().max().clamp(min=1)
        for value, wanted in zip(actual, expected)
        if wanted.numel()
    ]
    # Python's maximum would pass over a NaN.
    return torch.stack(pairs).max().item() if pairs else 0.0


def _first_run(model: nn.Module, height: int, width: int) -> tuple[Tensor, Cost, list[Tensor]]:
    """Return an image that a model takes, and the result of :func:`measure` for it.

    The image has three channels or, where the model refuses it, as many as the first convolution.

    Raises:
        ConfigError: If the model needs more than images.
    """
    convolution = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    errors: list[Exception] = []
    for channels in dict.fromkeys((RGB, RGB if convolution is None else convolution.in_channels)):
        images = smooth_images(height, width, count=1, channels=channels).double()
        try:
            return images, *measure(model, images)
        except Exception as error:  # a model that needs points, prompts or labels fails in any way
            errors.append(error)
    reason = ': '.join(filter(None, (type(errors[0]).__name__, ' '.join(str(errors[0]).split())[:120])))
    raise ConfigError(
        f"model.type '{type(model).__name__}' cannot be run on images alone ({reason}); valid: detectors, "
        'segmentors and pose estimators of images'
    ) from errors[0]


def fuse(model: nn.Module, height: int, width: int) -> Fusion:
    """Return a fused copy of a model, after comparing the outputs of both on generated images.

    The fusion and the comparison are in float64, in which rounding reorders no queries. A model that is fused already
    is returned as it is.

    Args:
        model: A trained model of images, on the CPU.
        height: Height of the images.
        width: Width of the images.

    Raises:
        ConfigError: If the model needs more than images, or has nothing to fuse.
        KDPluginsError: If the outputs differ.
    """
    name = type(model).__name__
    exact = copy.deepcopy(model).double()
    exact.eval()
    images, before, expected = _first_run(exact, height, width)
    changed = switch_to_deploy(exact)
    if not changed and any(isinstance(module, (nn.BatchNorm2d, nn.SyncBatchNorm)) for module in exact.modules()):
        raise ConfigError(
            f"model.type '{name}' has nothing to fuse: none of its BatchNorm layers is known to follow a convolution"
        )
    after, outputs = measure(exact, images)
    apart = difference(outputs, expected)
    if not apart <= TOLERANCE:
        raise KDPluginsError(
            f"model.type '{name}' gives other outputs when it is fused: they differ by {apart:.1e}, more than "
            f'{TOLERANCE:.0e}'
        )
    return Fusion(exact.to(next(model.parameters()).dtype), changed, before, after, apart)


__all__ = ['Cost', 'Fusion', 'attention_flops', 'difference', 'fuse', 'inference', 'measure']
