from __future__ import annotations

import pytest
import torch

from kd_plugins.losses import varifocal
from kd_plugins.ops.boxes import aligned_iou
from tests.losses.scene import Scene
from tests.losses.scored_queries import data
from tests.ops.corners import to_corners
from tests.torch_features import AUTOCAST_TYPES


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize('rows', [(5, 0, 10), ()], ids=['some matched', 'none matched'])
def test_is_the_loss_of_transformers(rows: tuple[int, ...], dtype: torch.dtype) -> None:
    pytest.importorskip('transformers.loss.loss_rt_detr')
    from transformers import DFineConfig
    from transformers.loss.loss_d_fine import DFineLoss

    scene = Scene(rows, (1, 0, 2)[: len(rows)])
    logits = 2 * torch.randn(14, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    leaf, expected_leaf = (logits.clone().requires_grad_() for _ in range(2))
    classes = torch.tensor([1, 3, 0])
    targets = [{**t, 'class_labels': c} for t, c in zip(scene.targets, (classes[:2], classes[2:]))]
    # In float64 the boxes are too, so that the IoU is the same number.
    targets = [{**t, 'boxes': t['boxes'].to(dtype)} for t in targets]
    outputs = {'pred_boxes': scene.predicted.to(dtype).view(2, 7, 4), 'logits': expected_leaf.view(2, 7, 4)}
    config = DFineConfig(num_labels=4)
    expected = DFineLoss(config).loss_labels_vfl(outputs, targets, scene.indices, 2.5)['loss_vfl']

    labels, quality = torch.full((14,), 4), torch.zeros(14, dtype=dtype)
    labels[scene.rows] = classes[scene.chosen]
    quality[scene.rows] = aligned_iou(
        to_corners(scene.predicted.to(dtype)[scene.rows]), to_corners(scene.objects.to(dtype))[scene.chosen]
    )
    each = varifocal(leaf, quality, labels, alpha=config.focal_loss_alpha, gamma=config.focal_loss_gamma)
    actual = config.weight_loss_vfl * each.sum() / 2.5
    tolerance = 1e-9 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
    actual.backward()
    expected.backward()
    torch.testing.assert_close(leaf.grad, expected_leaf.grad, rtol=tolerance, atol=tolerance)


def test_by_hand() -> None:
    logits, quality, labels = data()
    actual = varifocal(logits, quality, labels)
    for n in range(6):
        expected = torch.zeros((), dtype=torch.float64)
        for c in range(3):
            p = 1 / (1 + (-logits[n, c]).exp())
            if labels[n] == c:
                expected -= quality[n] * (quality[n] * p.log() + (1 - quality[n]) * (1 - p).log())
            else:
                expected -= 0.75 * p**2 * (1 - p).log()
        torch.testing.assert_close(actual[n], expected)


def test_gradient_stops_at_the_modulating_factor() -> None:
    logits, quality, labels = data()
    quality.requires_grad_()
    varifocal(logits.requires_grad_(), quality, labels, alpha=0.6, gamma=1.5).sum().backward()
    p = logits.detach().sigmoid()
    expected = 0.6 * p**2.5
    positive = labels < 3
    rows, classes = positive.nonzero()[:, 0], labels[positive]
    q = quality.detach()[positive]
    expected[rows, classes] = q * (p[rows, classes] - q)
    torch.testing.assert_close(logits.grad, expected)
    assert quality.grad is None


def test_gradcheck_where_nothing_is_stopped() -> None:
    logits, quality, labels = data()
    assert torch.autograd.gradcheck(lambda z: varifocal(z, quality, labels, gamma=0.0), (logits.requires_grad_(),))


class TestMMDetection:
    def test_two_differences_to_varifocal_loss(self) -> None:
        """There a match with IoU 0 is a negative, and the modulating factor carries gradient; the rest is the same."""
        losses = pytest.importorskip('mmdet.models.losses')
        logits, quality, labels = data()
        quality[3] = 0.0
        target = torch.zeros_like(logits)
        positive = labels < 3
        target[positive.nonzero()[:, 0], labels[positive]] = quality[positive]
        leaf, expected_leaf = (logits.clone().requires_grad_() for _ in range(2))
        reference = losses.VarifocalLoss(reduction='none')(expected_leaf, target).sum(-1)
        value = varifocal(leaf, quality, labels)
        overlapping = torch.arange(6) != 3
        torch.testing.assert_close(value[overlapping], reference[overlapping])
        p = logits[3, 1].sigmoid()
        torch.testing.assert_close(reference[3] - value[3], -0.75 * p**2 * (1 - p).log())
        value.sum().backward()
        reference.sum().backward()
        assert leaf.grad is not None and expected_leaf.grad is not None and leaf.grad[3, 1] == 0
        on_label = target > 0
        torch.testing.assert_close(leaf.grad[on_label], expected_leaf.grad[on_label])
        p = logits.sigmoid()
        through_factor = -0.75 * 2 * p**2 * (1 - p) * (1 - p).log()
        others = ~on_label & overlapping[:, None]
        torch.testing.assert_close((expected_leaf.grad - leaf.grad)[others], through_factor[others])


def test_leading_dimensions() -> None:
    logits, quality, labels = data()
    actual = varifocal(logits.view(2, 3, 3), quality.view(2, 3), labels.view(2, 3))
    assert torch.equal(actual.flatten(), varifocal(logits, quality, labels))


@pytest.mark.parametrize('label', [0, 3], ids=['all matched', 'all background'])
def test_one_kind_alone(label: int) -> None:
    logits, quality, _ = data()
    actual = varifocal(logits.requires_grad_(), quality, torch.full((6,), label))
    actual.sum().backward()
    assert actual.isfinite().all() and logits.grad is not None and logits.grad.abs().sum() > 0


@pytest.mark.parametrize('dtype', AUTOCAST_TYPES, ids=str)
def test_half_precision(dtype: torch.dtype) -> None:
    logits, quality, labels = data(dtype)
    actual = varifocal(logits.requires_grad_(), quality, labels)
    actual.sum().backward()
    assert actual.dtype == torch.float32 and logits.grad is not None and logits.grad.isfinite().all()
    expected = varifocal(logits.detach().float(), quality.float(), labels)
    torch.testing.assert_close(actual, expected)
    with torch.autocast('cpu', dtype):
        torch.testing.assert_close(varifocal(logits, quality, labels), expected)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_large_logits_stay_finite(dtype: torch.dtype) -> None:
    logits, quality, labels = data(dtype)
    for size in (1e4, -1e4):
        leaf = (size * logits.sign()).requires_grad_()
        actual = varifocal(leaf, quality, labels)
        actual.sum().backward()
        assert actual.isfinite().all() and leaf.grad is not None and leaf.grad.isfinite().all()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_cuda_without_host_sync() -> None:
    inputs = data(torch.float32)
    expected = varifocal(*inputs)
    logits, quality, labels = (x.cuda() for x in inputs)
    logits.requires_grad_()
    torch.cuda.set_sync_debug_mode('error')
    try:
        actual = varifocal(logits, quality, labels)
        actual.sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode('default')
    torch.testing.assert_close(actual.cpu(), expected)
