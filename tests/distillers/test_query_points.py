"""Forms of queries: kinds of detectors, random places, and networks that do not fit together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from kd_plugins.distillers.query_points import QueryForm, check_same_queries, random_boxes
from kd_plugins.models.dfine.native.query_selection import anchors
from kd_plugins.taps import TapSet
from tests.distillers.common import sentence
from tests.distillers.detrs import KINDS, PLACED, batch_of, detr
from tests.models.dfine.native.detectors import batch as native_batch
from tests.models.dfine.native.detectors import small
from tools.analysis.dfine_twins import ours


@pytest.mark.parametrize('kind', KINDS)
def test_own_queries_give_the_own_predictions(kind: str) -> None:
    """A second call of decoder and head gives what the detector itself predicts."""
    model: Any = detr(kind).eval()
    form = QueryForm.of(model, 'student')
    paths = form.taps(own_queries=True)
    taps = TapSet(model, paths)
    for equal in (False, True):
        taps.start()
        with torch.no_grad():
            expected = model(**batch_of(model, equal=equal), mode='tensor')
        taps.stop()
        recorded = {alias: taps.read(path) for alias, path in paths.items()}
        assert (recorded['memory_mask'][0].numel() == 0) == equal
        with torch.no_grad():
            actual = form.predictions(model, recorded, {name: recorded[name][0] for name in form.points})
        for mine, theirs in zip(actual, expected):
            torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize('kind', PLACED)
def test_queries_at_places(kind: str) -> None:
    model = detr(kind)
    form = QueryForm.of(model, 'student')
    boxes = random_boxes(2, 20, torch.Generator().manual_seed(0))
    own = {name: torch.randn(2, 12, 4 if form.detector == 'DABDETR' else 256) for name in form.points}
    own['query'] = torch.randn(2, 12, 256)
    points = form.placed(model, own, boxes)
    assert tuple(points) == form.points
    place = points['query_pos'].sigmoid() if form.detector == 'DABDETR' else points['reference_points']
    torch.testing.assert_close(place, boxes[..., : form.anchors])
    if form.two_stage:
        assert points['query'].shape == points['query_pos'].shape == (2, 20, 256)
    else:
        torch.testing.assert_close(points['query'], own['query'][:, [*range(12), *range(8)]])


def test_random_boxes() -> None:
    first, again = (random_boxes(2, 4000, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again) and not torch.equal(first[0], first[1])
    assert first.min() >= 0.01 and first.max() <= 0.99
    torch.testing.assert_close(first.std(dim=(0, 1)), torch.full((4,), 0.98 / 12**0.5), rtol=0, atol=0.01)
    released = random_boxes(2, 4000, torch.Generator().manual_seed(1), released=True)
    assert torch.equal(released[0], released[1])
    inside = ((released > 0.3375) & (released < 0.6625)).float().mean()
    assert abs(inside - 0.5) < 0.02


def test_networks_that_do_not_fit() -> None:
    with sentence('distillers.x: the student is Linear; valid: DETR, ConditionalDETR'):
        check_same_queries('distillers.x', nn.Linear(1, 1), detr('dab'))
    with sentence(r'queries are those of DABDETR \(boxes\), the teacher.s those of DINO \(boxes\)'):
        check_same_queries('distillers.x', detr('dab'), detr('dino'))
    with sentence(r'DeformableDETR \(points\), the teacher.s those of DeformableDETR \(boxes\)'):
        check_same_queries('distillers.x', detr('single'), detr('deformable'))
    narrow: Any = detr('dab')
    narrow.decoder.embed_dims = 128
    with sentence('decoder.embed_dims is 256 in the student and 128 in the teacher; a query is a vector'):
        check_same_queries('distillers.x', detr('dab'), narrow)
    other: Any = detr('dab')
    other.bbox_head.num_classes = 4
    with sentence('bbox_head.num_classes is 3 in the student and 4 in the teacher'):
        check_same_queries('distillers.x', detr('dab'), other)
    other = detr('dab')
    other.bbox_head.loss_cls.use_sigmoid = False
    with sentence('scores classes with sigmoid and the teacher.s with softmax'):
        check_same_queries('distillers.x', detr('dab'), other)

    class GroundingDINO(nn.Module):
        pass

    with sentence('the teacher is GroundingDINO; valid'):
        check_same_queries('distillers.x', detr('dab'), GroundingDINO())


def test_plain_and_refined_boxes_share_their_queries() -> None:
    assert check_same_queries('distillers.x', detr('fdr_dino'), detr('dino')).detector == 'DINO'


def test_content_of_a_native_detector_is_its_token_at_the_box() -> None:
    """At the boxes of its own anchors, the content is that of its own queries."""
    model: Any = small().eval()
    form = QueryForm.of(model, 'student')
    paths = form.taps(own_queries=True)
    taps = TapSet(model, paths)
    taps.start()
    data = native_batch(model, [1, 2], [(64, 96), (64, 80)])
    with torch.no_grad():
        scores, boxes = model(**data, mode='tensor')
        taps.stop()
        recorded = {alias: taps.read(path) for alias, path in paths.items()}
        own = {name: recorded[name][0] for name in form.points}
        for mine, theirs in zip(form.predictions(model, recorded, own), (scores, boxes)):
            torch.testing.assert_close(mine, theirs)
        # The best 20 of all tokens are the best of their place on one of the two levels at least.
        ratios = recorded['valid_ratios'][0]
        grid = anchors([(4, 6), (2, 3)], 'cpu', torch.float32, ratios, recorded['memory_mask'][0])
        content = form.content_at(model, recorded, grid.logits.sigmoid().expand(2, -1, -1)[:, 24:])
        tokens = model.memory_trans_norm(model.memory_trans_fc(recorded['memory'][0]))
        rating = model.bbox_head.cls_branches[3](tokens).amax(dim=-1)
        for image in range(2):
            for cell, actual in enumerate(content[image]):
                if not grid.valid.expand(2, -1, -1)[image, 24 + cell]:
                    continue
                place = grid.logits[image, 24 + cell, :2].sigmoid() * ratios[image, 0]
                fine = int(place[1] * 4) * 6 + int(place[0] * 6)
                best = max((fine, 24 + cell), key=lambda position: float(rating[image, position]))
                torch.testing.assert_close(actual, tokens[image, best])
    placed = form.placed(model, own, boxes[-1], recorded)
    assert tuple(placed) == form.points and placed['query'].shape == (2, 20, 128) and not placed['query'].requires_grad


def test_widths_of_native_detectors_may_differ() -> None:
    with torch.device('meta'):
        student, teacher, other = ours('n', 3), ours('s', 3), ours('s', 4)
    assert check_same_queries('distillers.x', student, teacher).detector == 'DFINE'
    with sentence('num_classes is 3 in the student and 4 in the teacher'):
        check_same_queries('distillers.x', student, other)
    with sentence(r'queries are those of DFINE \(boxes\), the teacher.s those of DINO \(boxes\)'):
        check_same_queries('distillers.x', student, detr('fdr_dino'))
