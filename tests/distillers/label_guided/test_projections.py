"""Linear maps between widths."""

from __future__ import annotations

import torch

from kd_plugins.distillers.label_guided.projections import LevelProjections


def test_each_level_has_its_own() -> None:
    projections = LevelProjections([2, 3], 4)
    levels = [torch.randn(1, 2, 3, 3), torch.randn(1, 3, 1, 2)]
    inner = projections.enter(levels)
    weight = projections.inward[1].weight[:, :, 0, 0]
    torch.testing.assert_close(inner[1][0, :, 0, 1], weight @ levels[1][0, :, 0, 1] + projections.inward[1].bias)
    assert [x.shape for x in projections.leave(inner)] == [x.shape for x in levels]
