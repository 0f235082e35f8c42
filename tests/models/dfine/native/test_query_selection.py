"""Anchors and the positions that become queries."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip('mmdet')

from kd_plugins.models.dfine.native.query_selection import anchors, best_positions, take


def levels(height: int, width: int, first: int = 3) -> list[tuple[int, int]]:
    return [(height >> power, width >> power) for power in range(first, 6)]


@pytest.mark.parametrize(
    ('size', 'first', 'outside'),
    [(640, 3, 316), (640, 4, 0), (320, 3, 0), (1280, 3, 1580), (1280, 4, 316)],
)
def test_border_positions_outside_the_margin(size: int, first: int, outside: int) -> None:
    """Numbers of the released detectors: three levels from stride 8, and two from stride 16."""
    assert (~anchors(levels(size, size, first)).valid).sum() == outside


def test_equals_transformers_also_for_rectangles() -> None:
    pytest.importorskip('transformers')
    from transformers.models.d_fine.modeling_d_fine import DFineModel

    shapes = levels(640, 1280)
    logits, valid = DFineModel._cached_generate_anchors(tuple(shapes), 0.05, 'cpu', torch.float64)
    actual = anchors(shapes, dtype=torch.float64)
    assert torch.equal(actual.valid, valid.bool())
    mask = actual.valid.expand_as(logits)
    torch.testing.assert_close(actual.logits[mask], logits[mask], rtol=1e-12, atol=1e-12)
    assert actual.logits[~mask].isinf().all()


def test_padded_images_have_anchors_relative_to_themselves() -> None:
    """The left half of a padded map is the whole image."""
    mask = torch.zeros(1, 2, 4, dtype=torch.bool)
    mask[..., 2:] = True
    padded = anchors([(2, 4)], valid_ratios=torch.tensor([[[0.5, 1.0]]]), mask=mask.flatten(1))
    alone = anchors([(2, 2)])
    torch.testing.assert_close(padded.logits.view(2, 4, 4)[:, :2], alone.logits.view(2, 2, 4))
    assert not padded.valid.view(2, 4)[:, 2:].any() and padded.valid.view(2, 4)[:, :2].all()


def test_the_best_class_decides() -> None:
    scores = torch.tensor([[[0.0, 3.0], [2.0, 2.0], [9.0, -9.0]]])
    positions = best_positions(scores, 2)
    assert positions.tolist() == [[2, 0]]
    assert best_positions(scores, 10).tolist() == [[2, 0, 1]], 'fewer positions than queries'
    torch.testing.assert_close(take(scores, positions), scores[:, [2, 0]])
