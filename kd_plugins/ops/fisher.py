"""Diagonal of the Fisher information: its estimate, and its record in a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError

KEY = 'fisher'
"""Key of the record in a checkpoint, beside ``state_dict``."""
VERSION = 1


def squared_gradients(losses: Iterable[Tensor], parameters: Sequence[Tensor]) -> list[Tensor]:
    r"""Return the sum of the squared gradients of each loss, :math:`\sum_n (\partial L_n / \partial\theta_j)^2`.

    Divided by the number of losses, one for each sample, it is the empirical Fisher information, where the loss takes
    the place of the negative log-likelihood of the labels. The gradient of a batch would not do: the square of a mean
    is too small by up to the size of the batch.

    Args:
        losses: Losses of shape (), one after the other, so that only one graph exists at a time.
        parameters: Leaves that require gradient; those that a loss does not depend on get 0 from it.

    Returns:
        Sums in float32, of the shapes of the parameters.

    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> squared_gradients((factor * x[0] for factor in (1.0, 3.0)), [x])
    [tensor([10.,  0.])]
    """
    sums = [torch.zeros_like(one, dtype=torch.float32) for one in parameters]
    for loss in losses:
        gradients = torch.autograd.grad(loss, list(parameters), allow_unused=True)
        for total, gradient in zip(sums, gradients):
            if gradient is not None:
                total += gradient.float().square()
    return sums


def fisher_record(information: Mapping[str, Tensor], samples: int) -> dict[str, Any]:
    """Return the record for a checkpoint.

    Args:
        information: Name of a parameter to the mean of its squared gradients.
        samples: Number of samples.
    """
    return {'version': VERSION, 'samples': samples, 'information': dict(information)}


def information_of(checkpoint: Mapping[str, Any], subject: str) -> dict[str, Tensor]:
    """Return name of a parameter to its information, from the record in a checkpoint.

    Args:
        checkpoint: The checkpoint, read.
        subject: Config key and name of the file, for error sentences.

    Raises:
        CheckpointError: If there is no record, or it cannot be read.
    """
    record = checkpoint.get(KEY)
    if record is None:
        raise CheckpointError(
            f'{subject} holds no Fisher information; train the earlier task with '
            "custom_hooks=[dict(type='kd_plugins.FisherHook')], or use method='l2'"
        )
    values: Any = record.get('information') if isinstance(record, Mapping) else None
    readable = isinstance(values, Mapping) and all(isinstance(value, Tensor) for value in values.values())
    if not readable or record.get('version') != VERSION:
        raise CheckpointError(
            f'{subject}: its Fisher information is damaged or of another version of kd_plugins; train the earlier task '
            'again with kd_plugins.FisherHook'
        )
    return dict(values)
