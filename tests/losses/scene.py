"""Two images for losses that Transformers' criterion of D-FINE has as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from kd_plugins.ops.boxes import aligned_iou
from tests.ops.corners import to_corners


class Scene:
    """Two images of seven queries and three objects, as we and as Transformers' criterion take them.

    ``rows`` are the matched queries, counted through both images, and ``chosen`` their objects; one has two queries.
    """

    def __init__(self, rows: Sequence[int] = (5, 0, 2, 10), chosen: Sequence[int] = (1, 0, 1, 2)) -> None:
        generator = torch.Generator().manual_seed(5)
        self.rows, self.chosen = torch.tensor(rows, dtype=torch.long), torch.tensor(chosen, dtype=torch.long)
        self.reference = 0.2 + 0.3 * torch.rand(14, 4, generator=generator)
        self.objects = 0.25 + 0.3 * torch.rand(3, 4, generator=generator)
        self.reference[self.rows] = self.objects[self.chosen] + 0.04 * torch.randn(len(rows), 4, generator=generator)
        self.predicted = self.reference + 0.01 * torch.randn(14, 4, generator=generator)
        self.corners = to_corners(self.objects)[self.chosen]
        self.quality = aligned_iou(to_corners(self.predicted[self.rows]), self.corners)
        self.targets = [{'boxes': self.objects[:2]}, {'boxes': self.objects[2:]}]
        first = self.rows < 7
        self.indices = [(self.rows[first], self.chosen[first]), (self.rows[~first] - 7, self.chosen[~first] - 2)]

    def their_quality(self) -> Tensor:
        """The IoU as Transformers computes it: the same number to the last digit."""
        from transformers.loss.loss_for_object_detection import box_iou

        return box_iou(to_corners(self.predicted[self.rows]), self.corners)[0].diagonal()

    def transformers(self, student: Tensor, teacher: Tensor, scores: Tensor, normalizer: float, **config: Any) -> Any:
        """The losses of ``DFineLoss.loss_local`` for logits (14, 4, 33) and class logits (14, C)."""
        pytest.importorskip('transformers.loss.loss_d_fine')
        from transformers import DFineConfig
        from transformers.loss.loss_d_fine import DFineLoss

        outputs = {
            'pred_corners': student.view(2, 7, 132),
            'teacher_corners': teacher.view(2, 7, 132),
            'teacher_logits': scores.view(2, 7, -1),
            'pred_boxes': self.predicted.view(2, 7, 4),
            'ref_points': self.reference.view(2, 7, 4),
        }
        return DFineLoss(DFineConfig(**config)).loss_local(outputs, self.targets, self.indices, normalizer)
