"""Supervision and divergences of auxiliary heads, from sums over parts of the maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...losses import SegmentationSums, class_masks, dice_cross_entropy, level_kl_sums, segmentation_sums
from ...ops.chunked_sum import Reader, sum_over_rows
from ...ops.reduction import global_normalizer
from .level_head import LevelHeads
from .level_maps import LevelMaps, shrunk

CHUNKS = {'cpu': 2**14, 'cuda': 2**18}
"""Positions to process at once: few for a small cache, many where starting a kernel costs more than running it."""
OUTPUT = -1
"""Position of the network's own logits."""


@dataclass(frozen=True)
class Branch:
    """Encoder or decoder, as the first batch showed it; positions count over all levels, the encoder's first."""

    order: list[int]
    """Order of depth of what the taps give."""
    levels: list[int]
    """Positions of its levels, the deepest last."""
    supervised: list[int]
    """Positions of the levels that learn from the ground truth."""
    students: list[int]
    """Positions of the levels that learn from another."""
    teacher: int
    """Position of the one that teaches."""

    @property
    def taught(self) -> list[int]:
        """Positions of the levels between which a divergence is taken, the one that teaches last."""
        return [*self.students, self.teacher] if self.students else []


@dataclass(frozen=True)
class LevelTerms:
    """What the heads' terms have in common; the fields are arguments of ``DualSelfDistiller``."""

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
        branches: Mapping[str, Branch],
        logits: Mapping[int, Tensor],
        size: Sequence[int],
        labels: Tensor | None,
        weight: Tensor | None,
    ) -> tuple[Tensor, ...]:
        """Return sums over all positions: of the supervision where labels are given, then of each branch's divergences
        where a weight is.
        """
        supervised = [] if labels is None else [at for branch in branches.values() for at in branch.supervised]
        taught = [] if weight is None else [branch for branch in branches.values() if branch.students]
        wanted = sorted({*supervised, *(at for branch in taught for at in branch.taught)})
        if not wanted:
            return ()
        maps = LevelMaps({at: logits[at] for at in wanted}, size, heads.doublings(wanted))

        def part(start: int, stop: int, read: Reader) -> tuple[Tensor, ...]:
            rows = maps.rows(start, stop, read)
            found: list[Tensor] = []
            if labels is not None and supervised:
                masks = class_masks(maps.order(labels[:, start:stop]), self.num_classes, self.ignore_index)
                found += segmentation_sums(torch.stack([rows[at] for at in supervised]), masks)
            for branch in taught:
                assert weight is not None
                students = torch.stack([rows[at] for at in branch.students])
                options = self.temperature, self.include_background, self.detach_teacher
                found.append(level_kl_sums(students, rows[branch.teacher], maps.order(weight[:, start:stop]), *options))
            return tuple(found)

        some = logits[wanted[0]]
        chunk = self.chunk or CHUNKS.get(some.device.type, CHUNKS['cuda'])
        step = chunk // (len(some) * math.prod(size[1:])) // maps.granularity * maps.granularity
        return sum_over_rows(part, size[0], max(step, maps.granularity), maps.maps, maps.params)

    def __call__(
        self,
        heads: LevelHeads,
        branches: Mapping[str, Branch],
        logits: Mapping[int, Tensor],
        labels: Tensor | None,
        size: tuple[int, ...],
    ) -> dict[str, Tensor]:
        """Return the terms of ``loss_<branch>_seg`` and ``loss_<branch>_kl``, one value per level.

        Args:
            heads: The heads.
            branches: Name to branch.
            logits: Position to logits at the size of their level.
            labels: (N, *size), or None where no level is supervised.
            size: At which the heads are supervised; the divergences are taken at a ``divisor``-th of it.

        Raises:
            ConfigError: If a head does not reach a size.
        """
        some = next(iter(logits.values()))
        counted = some.new_ones(len(some), *size) if labels is None else (labels != self.ignore_index).to(some.dtype)
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
