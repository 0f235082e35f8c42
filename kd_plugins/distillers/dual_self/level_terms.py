"""Supervision and divergences of auxiliary heads, computed from sums over parts of the maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...losses import SegmentationSums, class_masks, dice_cross_entropy, level_kl_sums, segmentation_sums
from ...ops.chunked_sum import ReadRows, sum_over_rows
from ...ops.reduction import global_normalizer
from .level_head import LevelHeads
from .level_maps import LevelMaps, shrunk

CHUNKS = {'cpu': 2**14, 'cuda': 2**18}
"""Positions to process at once: few on a CPU with a small cache, many on a GPU, where starting a kernel is costly."""
OUTPUT = -1
"""Position of the network's own logits."""


@dataclass(frozen=True)
class Branch:
    """Levels of an encoder or a decoder, as found in the first batch.

    Positions count over all levels, those of the encoder first.
    """

    order: list[int]
    """Indices of the taps' outputs in order of depth."""
    levels: list[int]
    """Positions of its levels, the deepest last."""
    supervised: list[int]
    """Positions of the levels that learn from the ground truth."""
    students: list[int]
    """Positions of the levels that learn from the level that teaches."""
    teacher: int
    """Position of the level that teaches."""

    @property
    def taught(self) -> list[int]:
        """Positions of the levels that take part in a divergence, the one that teaches last."""
        return [*self.students, self.teacher] if self.students else []


Branches = Mapping[str, Branch]
"""Name to branch."""
LevelLogits = Mapping[int, Tensor]
"""Position to logits, at the size of their level."""


@dataclass(frozen=True)
class LevelTerms:
    """Computation of the heads' losses; the fields are arguments of ``DualSelfDistiller``."""

    num_classes: int
    ignore_index: int
    dice_weight: float
    ce_weight: float
    temperature: float
    include_background: bool
    detach_teacher: bool
    divisor: int
    chunk: int | None

    def _sums(
        self,
        heads: LevelHeads,
        branches: Branches,
        logits: LevelLogits,
        size: Sequence[int],
        labels: Tensor | None,
        weight: Tensor | None,
    ) -> tuple[Tensor, ...]:
        """Return sums over all positions.

        The sums of the supervision come first, if there are labels, then those of each branch's divergences, if there
        is a weight.
        """
        supervised = [] if labels is None else [at for branch in branches.values() for at in branch.supervised]
        taught = [] if weight is None else [branch for branch in branches.values() if branch.students]
        used = sorted({*supervised, *(at for branch in taught for at in branch.taught)})
        if not used:
            return ()
        maps = LevelMaps({at: logits[at] for at in used}, size, heads.doublings(used), heads.key)

        def sums_of_rows(start: int, stop: int, read: ReadRows) -> tuple[Tensor, ...]:
            rows = maps.rows(start, stop, read)
            sums: list[Tensor] = []
            if labels is not None and supervised:
                masks = class_masks(maps.order(labels[:, start:stop]), self.num_classes, self.ignore_index)
                sums += segmentation_sums(torch.stack([rows[at] for at in supervised]), masks)
            for branch in taught:
                assert weight is not None
                students = torch.stack([rows[at] for at in branch.students])
                options = self.temperature, self.include_background, self.detach_teacher
                sums.append(level_kl_sums(students, rows[branch.teacher], maps.order(weight[:, start:stop]), *options))
            return tuple(sums)

        any_logits = logits[used[0]]
        chunk = self.chunk or CHUNKS.get(any_logits.device.type, CHUNKS['cuda'])
        step = chunk // (len(any_logits) * math.prod(size[1:])) // maps.granularity * maps.granularity
        return sum_over_rows(sums_of_rows, size[0], max(step, maps.granularity), maps.maps, maps.params)

    def __call__(
        self,
        heads: LevelHeads,
        branches: Branches,
        logits: LevelLogits,
        labels: Tensor | None,
        size: tuple[int, ...],
        inside: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms of ``loss_<branch>_seg`` and ``loss_<branch>_kl``, one value per level.

        Args:
            heads: The heads.
            branches: Name to branch.
            logits: Position to logits at the size of their level.
            labels: (N, *size), or None where no level is supervised.
            size: Spatial size at which the heads are supervised. The divergences are taken at a ``divisor``-th of it.
            inside: Booleans (N, *size), the positions that count where there are no labels; None: all.

        Raises:
            ConfigError: If no number of doublings of a level reaches the size.
        """
        x = next(iter(logits.values()))
        valid = inside if labels is None else labels != self.ignore_index
        counted = x.new_ones(len(x), *size) if valid is None else valid.to(x.dtype)
        weight = shrunk(counted[:, None], [-(-axis // self.divisor) for axis in size])[:, 0]
        grid = tuple(weight.shape[1:])
        if grid == size:
            sums = self._sums(heads, branches, logits, size, labels, weight)
        else:
            sums = self._sums(heads, branches, logits, size, labels, None)
            sums += self._sums(heads, branches, logits, grid, None, weight)
        terms: dict[str, Tensor] = {}
        supervised = {name: len(branch.supervised) for name, branch in branches.items() if branch.supervised}
        if supervised:
            values = dice_cross_entropy(SegmentationSums(*sums[:4]), self.dice_weight, self.ce_weight)
            parts = values.split(list(supervised.values()))
            terms |= {f'loss_{name}_seg': value for name, value in zip(supervised, parts)}
            sums = sums[4:]
        if sums:
            positions = global_normalizer(weight.sum(), minimum=1.0)
            taught = [name for name, branch in branches.items() if branch.students]
            terms |= {f'loss_{name}_kl': value / positions for name, value in zip(taught, sums)}
        return terms
