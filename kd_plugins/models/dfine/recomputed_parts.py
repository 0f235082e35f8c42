"""Refusal of MMEngine's ``activation_checkpointing`` for modules that would get no gradient, or a wrong one.

MMEngine runs a module of the list again in the backward pass, with PyTorch's reentrant checkpointing. It hands over
positional arguments alone. Tensors inside other objects are not separated from the graph before them, and where no
argument is a tensor with a gradient, the parameters of the module get none, and the run goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import mmengine.runner.activation_checkpointing as mmengine_checkpointing
import torch
from torch import Tensor, nn

from ...errors import ConfigError

KEY = 'activation_checkpointing'


def is_recomputed(module: nn.Module) -> bool:
    """Return whether MMEngine's ``activation_checkpointing`` names a module, whose ``forward`` it then replaces."""
    return getattr(vars(module).get('forward'), '__globals__', None) is vars(mmengine_checkpointing)


@contextmanager
def checked_recomputation(model: nn.Module) -> Iterator[None]:
    """Refuse, inside the context, calls of recomputed modules that would not train them.

    Args:
        model: The detector.

    Raises:
        ConfigError: If a recomputed module with trainable parameters is called with keyword arguments, with tensors
            inside other objects, or without a tensor that has a gradient.
    """
    with ExitStack() as hooks:
        if torch.is_grad_enabled():
            for name, module in model.named_modules():
                if is_recomputed(module) and any(one.requires_grad for one in module.parameters()):
                    check = partial(_check_call, name)
                    hooks.enter_context(module.register_forward_pre_hook(check, with_kwargs=True))
        yield


def _check_call(name: str, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    if kwargs:
        reason = f'which gets arguments by name ({next(iter(kwargs))})'
    elif any(_needs_gradient(one) for one in args if not isinstance(one, Tensor)):
        reason = 'which gets tensors inside other objects'
    elif not any(_needs_gradient(one) for one in args):
        reason = 'which gets no tensor with a gradient'
    else:
        return
    raise ConfigError(
        f"{KEY} names '{name}', {reason}, so that MMEngine cannot train its layers; valid: modules inside the detector "
        "that get one feature map of trained layers, such as a later stage of the backbone, or 'decoder.layers.0.ffn'"
    )


def _needs_gradient(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.requires_grad
    members = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return any(map(_needs_gradient, members))


__all__ = ['checked_recomputation', 'is_recomputed']
