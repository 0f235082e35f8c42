"""Activation checkpointing in a student that has two passes in a training step, or a loss on its parameters."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import is_distributed
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from ..distillers.base import Taps
from ..errors import ConfigError
from ..utils.loss_dicts import ADDED, tensors_of
from .liveness import REENTRANT, nodes_of
from .unlabelled import HOOK_KEY, KEY

LAYERS = 'layers with activation checkpointing (with_cp=True, or activation_checkpointing of the config)'


def recomputes(tensor: Tensor) -> bool:
    """Return whether the graph of a tensor has a region whose parameters get their gradient in a backward of its own.

    That is activation checkpointing with ``use_reentrant=True``: the default of ``torch.utils.checkpoint``, which the
    models of OpenMMLab use for ``with_cp`` and MMEngine for ``activation_checkpointing``.

    Args:
        tensor: A loss.

    >>> from torch.utils.checkpoint import checkpoint
    >>> layer, x = nn.Linear(2, 2), torch.ones(1, 2, requires_grad=True)
    >>> [recomputes(checkpoint(layer, x, use_reentrant=flag).sum()) for flag in (True, False)]
    [True, False]
    """
    return any(node.name() == REENTRANT for node in nodes_of(tensor))


def check_recomputation(
    losses: Mapping[str, Any], second_pass: bool, parameters: Mapping[str, Iterable[Tensor]] | None = None
) -> None:
    """Refuse what reentrant activation checkpointing cannot train in distributed training.

    DistributedDataParallel expects that each parameter gets its gradient once in a step. With two passes, it gets one
    for every region that is run again, and with a loss on the parameters of such a region, one for the loss as well.
    PyTorch then stops the run without naming the cause.

    Args:
        losses: The losses of the labelled images, with their graph.
        second_pass: Whether the student has a pass over unlabelled images in the same step.
        parameters: Config key of each distiller with a loss on parameters, to these parameters.

    Raises:
        ConfigError: If the training is distributed and the graph has such a region.
    """
    if not is_distributed() or not (second_pass or parameters):
        return
    tensors = [tensor for name, value in losses.items() if ADDED in name for tensor in tensors_of(value)]
    if not any(recomputes(tensor) for tensor in tensors):
        return
    if second_pass:
        raise ConfigError(
            f'{HOOK_KEY}: the model has {LAYERS}, and DistributedDataParallel cannot train them with two passes in '
            'a step; nearest: with_cp=False and a smaller batch_size'
        )
    # The parameters of such a region are no leaves of the graph.
    nodes = (node for tensor in tensors for node in nodes_of(tensor))
    leaves = {id(node.variable) for node in nodes if hasattr(node, 'variable')}
    for key, members in (parameters or {}).items():
        if any(one.requires_grad and id(one) not in leaves for one in members):
            raise ConfigError(
                f'{key}: it names parameters of {LAYERS}, and DistributedDataParallel cannot train them with a loss on '
                'the parameters themselves; nearest: with_cp=False and a smaller batch_size, or other parameters'
            )


def check_answers(key: str, outputs: Taps, answers: Taps) -> None:
    """Refuse a distiller that runs regions with reentrant activation checkpointing again in distributed training.

    Args:
        key: Config key of the distiller.
        outputs: What its taps on the student recorded.
        answers: What it has computed from them with layers of the student.

    Raises:
        ConfigError: If the training is distributed and a region has run for the answers alone.
    """
    if not is_distributed():
        return
    before, after = (
        {node for members in taps.values() for tensor in members for node in nodes_of(tensor)}
        for taps in (outputs, answers)
    )
    if any(node.name() == REENTRANT for node in after - before):
        raise ConfigError(
            f'{key}: it runs {LAYERS} a second time in a step, which DistributedDataParallel cannot train; nearest: '
            'with_cp=False and a smaller batch_size'
        )


@contextmanager
def recomputed_norms(student: nn.Module) -> Iterator[None]:
    """Warn of normalisation layers that a pass inside the context runs in a region with activation checkpointing.

    The backward pass runs such a region again, after the running statistics of the labelled images were put back, and
    moves them.

    Args:
        student: The student.
    """
    inside: list[str] = []

    def look(name: str) -> Any:
        # Such a region runs without gradient at first.
        return lambda module, args: None if torch.is_grad_enabled() else inside.append(name)

    layers = {
        name: layer
        for name, layer in student.named_modules()
        if isinstance(layer, _NormBase) and layer.training and layer.running_mean is not None
    }
    handles = [layer.register_forward_pre_hook(look(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if inside:
        print_log(
            f"{KEY}.statistics is 'labelled', and normalisation layers such as '{inside[0]}' lie inside activation "
            'checkpointing (with_cp), so that the backward pass moves their running statistics by unlabelled images '
            "too; nearest: with_cp=False, norm_eval=True or statistics='both'.",
            logger='current',
            level=logging.WARNING,
        )
