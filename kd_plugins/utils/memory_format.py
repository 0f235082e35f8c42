"""Memory format of the weights of convolutions, which is also that of their outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from .nested import map_tensors

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
OPERATORS = 'mmcv.ops'
"""Package of MMCV's operators, whose kernels read a map as if its channels came first."""


def set_channels_last(model: nn.Module, enabled: bool = True) -> None:
    """Store the weights of 2-D and 3-D convolutions in PyTorch's channels-last order, or in the usual one.

    Parameters stay the same objects. MMCV's operators, such as ``RoIAlign`` and ``ModulatedDeformConv2d``, read a map
    in channels-last order without an error and give wrong values. So each of them in the network is given contiguous
    copies of its maps, also after a return to the usual order, where there is nothing to copy.

    Args:
        model: The network; changed in place.
        enabled: Whether the channels are last.

    >>> layer = nn.Conv2d(2, 4, 3)
    >>> set_channels_last(layer)
    >>> layer.weight.is_contiguous(), layer.weight.is_contiguous(memory_format=torch.channels_last)
    (False, True)
    """
    operators = [module for module in model.modules() if is_operator(module)]
    # A convolution inside of an operator computes the operator's own arguments, such as offsets.
    inner = {part for operator in operators for part in operator.modules()}
    for module in model.modules():
        if isinstance(module, _ConvNd) and module.weight.dim() in _CHANNELS_LAST and module not in inner:
            weight = module.weight
            memory_format = _CHANNELS_LAST[weight.dim()] if enabled else torch.contiguous_format
            weight.data = weight.data.contiguous(memory_format=memory_format)
    for operator in operators:
        if enabled and _give_contiguous not in operator._forward_pre_hooks.values():
            operator.register_forward_pre_hook(_give_contiguous, with_kwargs=True)


def is_operator(module: nn.Module) -> bool:
    """Return whether a module is one of MMCV's operators, or of a class derived from one."""
    return any(f'{base.__module__}.'.startswith(f'{OPERATORS}.') for base in type(module).__mro__)


def contiguous(value: Any) -> Any:
    """Return maps in the usual order, within lists, tuples and mappings; other values are returned unchanged.

    >>> maps = torch.zeros(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    >>> contiguous({'maps': [maps]})['maps'][0].is_contiguous()
    True
    """
    return map_tensors(value, _contiguous_map)


def _contiguous_map(value: Tensor) -> Tensor:
    return value.contiguous() if value.dim() in _CHANNELS_LAST and value.layout == torch.strided else value


def _give_contiguous(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    return contiguous(args), contiguous(kwargs)
