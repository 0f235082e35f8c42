"""Running statistics of normalisation layers in passes that must not move those of the labelled images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

Buffers = dict[str, Tensor | None]


class SeparateStatistics:
    """Running statistics of unlabelled images, kept apart from those of the labelled ones.

    They begin as a copy of the latter in the first pass of a run, and move with the momentum of their layer. Nothing
    but :meth:`monitors` reads them.
    """

    def __init__(self) -> None:
        self._separate: dict[_NormBase, Buffers] = {}

    @property
    def began(self) -> bool:
        """Whether a pass has moved them."""
        return bool(self._separate)

    @contextmanager
    def used(self, model: nn.Module) -> Iterator[None]:
        """Let the layers in train mode move the separate statistics inside the context.

        The layers still normalise by the statistics of their batch. The originals are the same tensors afterwards,
        which backward passes and DistributedDataParallel may refer to.

        Args:
            model: The network.

        >>> norm, separate = nn.BatchNorm1d(2), SeparateStatistics()
        >>> with separate.used(norm):
        ...     _ = norm(torch.ones(3, 2))
        >>> norm.running_mean.tolist(), int(norm.num_batches_tracked)
        ([0.0, 0.0], 0)
        >>> round(float(separate.monitors()['shift']), 4)
        0.1
        """
        moving = [layer for layer in model.modules() if isinstance(layer, _NormBase) and layer.training]
        originals = [(layer, dict(layer._buffers)) for layer in moving]
        try:
            for layer, buffers in originals:
                if layer not in self._separate:
                    self._separate[layer] = {
                        name: None if one is None else one.clone() for name, one in buffers.items()
                    }
                layer._buffers.update(self._separate[layer])
            yield
        finally:
            for layer, buffers in originals:
                layer._buffers.update(buffers)

    @torch.no_grad()
    def monitors(self) -> dict[str, Tensor]:
        r"""Return ``shift``, how far the running means of unlabelled images lie from those of labelled ones.

        .. math:: \frac{1}{L} \sum_l \frac{1}{C_l} \sum_c |\mu^u_{lc} - \mu_{lc}| / \sqrt{\sigma^2_{lc} + \epsilon}

        over the C channels c of each of the L layers l, with the running means :math:`\mu^u` of unlabelled and
        :math:`\mu` of labelled images and the running variance :math:`\sigma^2` of labelled ones. The dict is empty
        before the first pass and without such a layer.
        """
        shifts = []
        for layer, separate in self._separate.items():
            mean, var, other = layer.running_mean, layer.running_var, separate['running_mean']
            if mean is not None and var is not None and other is not None:
                shifts.append(((other - mean).abs() * (var + layer.eps).rsqrt()).float().mean())
        return {'shift': torch.stack(shifts).mean()} if shifts else {}
