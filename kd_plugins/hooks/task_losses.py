"""Task losses of a student: their sum, and their weight beside the distillation losses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..utils.loss_dicts import ADDED, loss_sum, tensors_of

TASK = 'task'
"""First part of the keys of task losses that train nothing."""
UNTAUGHT = f'{TASK}.{ADDED}'
"""Key of their sum, times 0."""


def task_loss(losses: Mapping[str, Any]) -> Tensor:
    """Return the sum of a loss dict as MMEngine's ``parse_losses`` computes it, detached."""
    with torch.no_grad():
        return loss_sum(losses)


def logged_key(key: str) -> str:
    """Return the key under which a task loss is logged and not added.

    >>> [logged_key(key) for key in ('loss_cls', 'd0.loss_bbox', 'loss')]
    ['task.cls', 'task.d0.bbox', 'task.all']
    """
    return f'{TASK}.{re.sub(f"{ADDED}_|_?{ADDED}", "", key) or "all"}'


def scale_task(losses: Mapping[str, Any], factor: Callable[[str], float]) -> Mapping[str, Any]:
    """Return each task loss times the factor of its key.

    Those with the factor 0 are only logged, without gradient, under keys that ``parse_losses`` does not add. Their
    graph remains, times 0, as ``task.loss``, as DistributedDataParallel expects a gradient for every parameter.

    >>> scale_task({'loss_kpt': torch.tensor(2.0), 'acc_pose': torch.tensor(0.5)}, lambda key: 0.0)
    {'task.kpt': tensor(2.), 'acc_pose': tensor(0.5000), 'task.loss': tensor(0.)}
    """
    weights = {key: factor(key) for key in losses if ADDED in key}
    if all(weight == 1.0 for weight in weights.values()):
        return losses
    scaled: dict[str, Any] = {}
    untaught: list[Tensor] = []
    for key, value in losses.items():
        weight = weights.get(key, 1.0)
        if weight == 1.0:
            scaled[key] = value
        elif weight:
            scaled[key] = [entry * weight for entry in value] if isinstance(value, (list, tuple)) else value * weight
        elif entries := tensors_of(value):
            total = torch.stack([entry.mean() for entry in entries]).sum()
            scaled[logged_key(key)] = total.detach()
            untaught.append(total * 0)
    if untaught:
        scaled[UNTAUGHT] = torch.stack(untaught).sum()
    return scaled
