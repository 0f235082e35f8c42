from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.losses import FGLLoss, fine_grained_localization
from kd_plugins.ops.edge_bins import edge_targets, weighting_function
from kd_plugins.registry import MODELS
from tests.losses.scene import Scene
from tests.torch_features import AUTOCAST_TYPES


def data(layers: int = 2, pairs: int = 3, bins: int = 9, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits (L, M, 4, bins), left bin (M, 4), weight of the right bin (M, 4), quality (L, M)."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(layers, pairs, 4, bins, generator=generator, dtype=torch.float64)
    index = torch.randint(bins - 1, (pairs, 4), generator=generator)
    right = torch.rand(pairs, 4, generator=generator, dtype=torch.float64)
    quality = torch.rand(layers, pairs, generator=generator, dtype=torch.float64)
    return logits, index, right, quality


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32], ids=str)
def test_is_the_cross_entropy_of_transformers(dtype: torch.dtype) -> None:
    pytest.importorskip('transformers.loss.loss_d_fine')
    from transformers import DFineConfig
    from transformers.loss.loss_d_fine import DFineLoss

    logits, index, right, quality = (x.to(dtype) if x.is_floating_point() else x for x in data(1, 50, 33))
    # Their weights are rounded to float32 on the way, so that only such weights can agree to 1e-9.
    quality = quality.float().to(dtype)
    expected_leaf, leaf = (logits.clone().requires_grad_() for _ in range(2))
    expected = DFineLoss(DFineConfig()).unimodal_distribution_focal_loss(
        expected_leaf.view(-1, 33), index.flatten(), right, 1 - right, quality[0].repeat_interleave(4), avg_factor=7.0
    )
    actual = FGLLoss(loss_weight=1.0)(leaf, index, right, quality, 7.0)
    tolerance = 1e-9 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(actual, expected[None], rtol=tolerance, atol=tolerance)
    actual.sum().backward()
    expected.backward()
    torch.testing.assert_close(leaf.grad, expected_leaf.grad, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize('reg_scale', [4.0, 8.0])
def test_is_the_loss_of_transformers_from_boxes_on(reg_scale: float) -> None:
    """``loss_fgl`` of the whole ``loss_local``: targets, IoU weight, sum and normaliser."""
    scene = Scene()
    logits = torch.randn(14, 4, 33, generator=torch.Generator().manual_seed(3))
    leaf, expected_leaf = (logits.clone().requires_grad_() for _ in range(2))
    expected = scene.transformers(expected_leaf, logits, torch.zeros(14, 2), 5.0, reg_scale=reg_scale)['loss_fgl']
    bins = weighting_function(32, 0.5, reg_scale)
    index, right = edge_targets(scene.reference[scene.rows], scene.corners, bins, reg_scale)
    actual = FGLLoss(loss_weight=1.0)(leaf[scene.rows][None], index, right, scene.quality[None], torch.tensor(5.0))[0]
    assert actual > 1
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    expected.backward()
    actual.backward()
    torch.testing.assert_close(leaf.grad, expected_leaf.grad, rtol=1e-5, atol=1e-5)


def test_default_weight_is_that_of_transformers() -> None:
    transformers = pytest.importorskip('transformers')
    assert FGLLoss().loss_weight == transformers.DFineConfig().weight_loss_fgl


def test_by_hand() -> None:
    logits, index, right, quality = data()
    expected = torch.zeros(2, dtype=torch.float64)
    for layer in range(2):
        for k in range(3):
            for edge in range(4):
                p = logits[layer, k, edge].exp() / logits[layer, k, edge].exp().sum()
                i, w = index[k, edge], right[k, edge]
                expected[layer] -= quality[layer, k] * ((1 - w) * p[i].log() + w * p[i + 1].log())
    actual = FGLLoss(loss_weight=0.3)(logits, index, right, quality, 2.5)
    torch.testing.assert_close(actual, 0.3 * expected / 2.5)


def test_targets_of_each_layer() -> None:
    """Targets may also differ from layer to layer."""
    logits, index, right, _ = data()
    both = fine_grained_localization(logits, torch.stack([index, index.flip(0)]), torch.stack([right, right.flip(0)]))
    assert both.shape == (2, 3, 4)
    torch.testing.assert_close(both[1], fine_grained_localization(logits[1], index.flip(0), right.flip(0)))
    torch.testing.assert_close(both[0], fine_grained_localization(logits, index, right)[0])


def test_weights_at_their_ends_are_plain_cross_entropy() -> None:
    logits, index, _, _ = data(1)
    for weight, target in ((0.0, index), (1.0, index + 1)):
        actual = fine_grained_localization(logits[0], index, torch.full(index.shape, weight))
        expected = F.cross_entropy(logits[0].flatten(0, 1), target.flatten(), reduction='none')
        torch.testing.assert_close(actual.flatten(), expected)


def test_smallest_where_the_distribution_is_the_target() -> None:
    _, index, right, _ = data(1, 1)
    target = torch.full((1, 4, 9), 1e-12, dtype=torch.float64)
    target.scatter_(-1, index[..., None], (1 - right)[..., None]).scatter_(-1, index[..., None] + 1, right[..., None])
    logits = target.log().requires_grad_()
    fine_grained_localization(logits, index, right).sum().backward()
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), rtol=0, atol=1e-9)


def test_gradcheck() -> None:
    logits, index, right, quality = data()
    module = FGLLoss()
    assert torch.autograd.gradcheck(lambda z: module(z, index, right, quality, 2.0), (logits.requires_grad_(),))


def test_no_gradient_through_the_quality() -> None:
    logits, index, right, quality = data()
    FGLLoss()(logits.requires_grad_(), index, right, quality.requires_grad_(), 1.0).sum().backward()
    assert logits.grad is not None and quality.grad is None


def test_no_pairs_keep_a_graph() -> None:
    logits = torch.zeros(3, 5, 4, 9, requires_grad=True)
    none = torch.zeros(0, 4)
    loss = FGLLoss()(logits[:, :0], none.long(), none, torch.zeros(3, 0), torch.tensor(1.0))
    assert loss.tolist() == [0.0, 0.0, 0.0]
    loss.sum().backward()
    assert logits.grad is not None and logits.grad.abs().sum() == 0


@pytest.mark.parametrize('dtype', AUTOCAST_TYPES, ids=str)
def test_half_precision(dtype: torch.dtype) -> None:
    logits, index, right, quality = data()
    leaf = logits.to(dtype).requires_grad_()
    module = FGLLoss()
    actual = module(leaf, index, right.to(dtype), quality.to(dtype), 2.0)
    actual.sum().backward()
    assert actual.dtype == torch.float32 and leaf.grad is not None and leaf.grad.isfinite().all()
    expected = module(logits.to(dtype).float(), index, right.to(dtype).float(), quality.to(dtype).float(), 2.0)
    torch.testing.assert_close(actual, expected)
    with torch.autocast('cpu', dtype):
        torch.testing.assert_close(module(leaf, index, right.to(dtype), quality.to(dtype), 2.0), expected)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_large_logits_stay_finite(dtype: torch.dtype) -> None:
    logits, index, right, quality = data()
    leaf = (1e4 * logits.sign()).to(dtype).requires_grad_()
    actual = FGLLoss()(leaf, index, right, quality, 1.0)
    actual.sum().backward()
    assert actual.isfinite().all() and leaf.grad is not None and leaf.grad.isfinite().all()


def test_module() -> None:
    module = MODELS.build({'type': 'kd_plugins.FGLLoss', 'loss_weight': 2.0})
    logits, index, right, quality = data()
    assert torch.equal(module(logits, index, right, quality, 1.0), 2.0 * FGLLoss(1.0)(logits, index, right, quality, 1))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_cuda_without_host_sync() -> None:
    inputs = [x.float() if x.is_floating_point() else x for x in data()]
    expected = FGLLoss()(*inputs, torch.tensor(2.0))
    device = [x.cuda() for x in (*inputs, torch.tensor(2.0))]
    device[0].requires_grad_()
    torch.cuda.set_sync_debug_mode('error')
    try:
        actual = FGLLoss()(*device)
        actual.sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode('default')
    torch.testing.assert_close(actual.cpu(), expected)
