"""The matchability-aware loss: values of transformers, by hand, gradients."""

from __future__ import annotations

import pytest
import torch

from kd_plugins.losses import matchability_aware, varifocal
from kd_plugins.ops.boxes import aligned_iou
from tests.losses.scene import Scene
from tests.losses.scored_queries import data
from tests.ops.corners import to_corners
from tests.torch_features import AUTOCAST_TYPES


@pytest.mark.parametrize('alpha', [None, 0.6])
@pytest.mark.parametrize('rows', [(5, 0, 10), ()], ids=['some matched', 'none matched'])
def test_is_the_loss_of_transformers(rows: tuple[int, ...], alpha: float | None) -> None:
    """Transformers has the loss for DEIMv2, in the form of DEIM."""
    theirs = pytest.importorskip('transformers.loss.loss_deimv2')
    from transformers import Deimv2Config

    scene = Scene(rows, (1, 0, 2)[: len(rows)])
    logits = 2 * torch.randn(14, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    leaf, expected_leaf = (logits.clone().requires_grad_() for _ in range(2))
    classes = torch.tensor([1, 3, 0])
    targets = [{**t, 'class_labels': c} for t, c in zip(scene.targets, (classes[:2], classes[2:]))]
    targets = [{**t, 'boxes': t['boxes'].double()} for t in targets]
    outputs = {'pred_boxes': scene.predicted.double().view(2, 7, 4), 'logits': expected_leaf.view(2, 7, 4)}
    loss = theirs.Deimv2Loss(Deimv2Config(num_labels=4, focal_loss_gamma=1.5, mal_alpha=alpha))
    assert loss.gamma == 1.5
    expected = loss.loss_labels_mal(outputs, targets, scene.indices, 2.5)['loss_mal']
    labels, quality = torch.full((14,), 4), torch.zeros(14, dtype=torch.float64)
    labels[scene.rows] = classes[scene.chosen]
    quality[scene.rows] = aligned_iou(
        to_corners(scene.predicted.double()[scene.rows]), to_corners(scene.objects.double())[scene.chosen]
    )
    actual = matchability_aware(leaf, quality, labels, 1.0 if alpha is None else alpha).sum() / 2.5
    torch.testing.assert_close(actual, expected)
    actual.backward()
    expected.backward()
    torch.testing.assert_close(leaf.grad, expected_leaf.grad)


def test_by_hand() -> None:
    logits, quality, labels = data()
    actual = matchability_aware(logits, quality, labels, alpha=0.8)
    for n in range(6):
        expected = torch.zeros((), dtype=torch.float64)
        for c in range(3):
            p = logits[n, c].sigmoid()
            if labels[n] == c:
                q = quality[n] ** 1.5
                expected -= q * p.log() + (1 - q) * (1 - p).log()
            else:
                expected -= 0.8 * p**1.5 * (1 - p).log()
        torch.testing.assert_close(actual[n], expected)


def test_a_match_of_low_quality_counts_where_varifocal_loss_ignores_it() -> None:
    logits, quality, labels = data()
    quality[0] = 0.0
    for loss, counts in ((matchability_aware, True), (varifocal, False)):
        leaf = logits.clone().requires_grad_()
        loss(leaf, quality.requires_grad_(), labels).sum().backward()
        assert leaf.grad is not None and (leaf.grad[0, labels[0]] > 0) == counts and quality.grad is None


def test_gradcheck_where_nothing_is_stopped() -> None:
    logits, quality, labels = data()
    assert torch.autograd.gradcheck(
        lambda z: matchability_aware(z, quality, labels, gamma=0.0), (logits.requires_grad_(),)
    )


@pytest.mark.parametrize('dtype', AUTOCAST_TYPES, ids=str)
def test_half_precision_and_large_logits(dtype: torch.dtype) -> None:
    logits, quality, labels = data(dtype)
    with torch.autocast('cpu', dtype):
        actual = matchability_aware(logits, quality, labels)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, matchability_aware(logits.float(), quality.float(), labels))
    leaf = (1e4 * logits.sign()).requires_grad_()
    matchability_aware(leaf, quality, labels).sum().backward()
    assert leaf.grad is not None and leaf.grad.isfinite().all()
    empty = matchability_aware(leaf[:0], quality[:0], labels[:0])
    assert empty.shape == (0,) and empty.requires_grad
