from __future__ import annotations

from bisect import bisect_right

import pytest
import torch
from torch import Tensor

from kd_plugins.errors import ConfigError
from kd_plugins.ops.edge_bins import (
    EdgeBins,
    edge_targets,
    expected_offsets,
    move_distributions,
    refine_boxes,
    weighting_function,
)
from tests.ops.corners import to_corners
from tests.torch_features import AUTOCAST_TYPES


def boxes(count: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Tensor, Tensor]:
    """References (cx, cy, w, h) and ground truth (x1, y1, x2, y2), of which some lie beyond the last bins."""
    generator = torch.Generator().manual_seed(seed)
    random = torch.rand(4, count, 2, generator=generator, dtype=torch.float64)
    reference = torch.cat([random[0], 0.05 + 0.4 * random[1]], dim=-1)
    size = reference[:, 2:] * (0.3 + 1.2 * random[2])
    center = reference[:, :2] + (random[3] - 0.5) * reference[:, 2:]
    corners = torch.cat([center - size / 2, center + size / 2], dim=-1)
    corners[::7] = corners[::7] * 3 - 1
    return reference.to(dtype), corners.to(dtype)


def dense(index: Tensor, right: Tensor, bins: int) -> Tensor:
    """The two-bin targets as distributions over all bins: what is compared where an edge lies exactly on a bin."""
    out = torch.zeros(*index.shape, bins, dtype=right.dtype)
    out.scatter_add_(-1, index[..., None], (1 - right)[..., None])
    return out.scatter_add_(-1, index[..., None] + 1, right[..., None])


class TestTransformers:
    """Transformers has a D-FINE that we did not write."""

    @pytest.mark.parametrize('arguments', [(32, 0.5, 4.0), (32, 0.5, 8.0), (16, 0.25, 3.0), (4, 1.0, 2.0)], ids=str)
    def test_bins(self, arguments: tuple[int, float, float]) -> None:
        transformers = pytest.importorskip('transformers.loss.loss_d_fine')
        reg_max, up, reg_scale = arguments
        expected = transformers.weighting_function(reg_max, torch.tensor([up], dtype=torch.float64), reg_scale)
        actual = weighting_function(*arguments, dtype=torch.float64)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
        single = transformers.weighting_function(reg_max, torch.tensor([up]), reg_scale)
        torch.testing.assert_close(weighting_function(*arguments), single, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize('dtype', [torch.float64, torch.float32], ids=str)
    def test_decoding(self, dtype: torch.dtype) -> None:
        transformers = pytest.importorskip('transformers.models.d_fine.modeling_d_fine')
        config = pytest.importorskip('transformers').DFineConfig()
        tolerance = 1e-9 if dtype == torch.float64 else 1e-5
        generator = torch.Generator().manual_seed(1)
        logits = 3 * torch.randn(2, 5, 4, 33, generator=generator, dtype=torch.float64).to(dtype)
        reference = boxes(10, dtype)[0].view(2, 5, 4)
        bins = weighting_function(32, dtype=dtype)
        distances = transformers.DFineIntegral(config)(logits.flatten(2), bins)
        offsets = expected_offsets(logits, bins)
        torch.testing.assert_close(offsets, distances, rtol=tolerance, atol=tolerance)
        expected = transformers.distance2bbox(reference, distances, config.reg_scale)
        actual = refine_boxes(reference, offsets, config.reg_scale)
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)

    # Their targets exist in float32 alone; in float64 ours are compared with a search by hand below.
    @pytest.mark.parametrize('reg_scale', [4.0, 8.0])
    def test_targets(self, reg_scale: float) -> None:
        transformers = pytest.importorskip('transformers.loss.loss_d_fine')
        up = torch.tensor([0.5])
        reference, corners = boxes(500, torch.float32)
        reference[:3, 2:] = 0.0
        index, right, left = transformers.bbox2distance(reference, corners, 32, reg_scale, up)
        expected = dense(index.long().view(-1, 4), right.view(-1, 4), 33)
        bins = weighting_function(32, 0.5, reg_scale)
        torch.testing.assert_close(
            dense(*edge_targets(reference, corners, bins, reg_scale), 33), expected, rtol=0, atol=1e-4
        )
        # Given the same rounded bins, an edge falls between the same two.
        bins = transformers.weighting_function(32, up, reg_scale)
        actual = edge_targets(reference, corners, bins, reg_scale)
        assert torch.equal(actual[0], index.long().view(-1, 4))
        torch.testing.assert_close(actual[1], right.view(-1, 4), rtol=0, atol=1e-5)
        torch.testing.assert_close(1 - actual[1], left.view(-1, 4), rtol=0, atol=1e-5)
        assert (actual[0] == 0).any() and (actual[0] == 31).any()

    def test_a_reference_of_negative_size_differs(self) -> None:
        transformers = pytest.importorskip('transformers.loss.loss_d_fine')
        reference, corners = torch.tensor([[0.5, 0.5, -0.2, 0.2]]), torch.tensor([[0.4, 0.4, 0.6, 0.6]])
        index, right, _ = transformers.bbox2distance(reference, corners, 32, 4.0, torch.tensor([0.5]))
        # They divide by the negative width, so an edge outside the center becomes one inside; it never comes out of a
        # sigmoid, and we take it for no width at all: both edges are as far out as they can be.
        assert index.long().view(4)[[0, 2]].tolist() == [0, 0] and right.view(4)[[0, 2]].tolist() == [0, 0]
        actual = edge_targets(reference, corners, weighting_function(32), 4.0)
        assert actual[0][0, [0, 2]].tolist() == [31, 31] and actual[1][0, [0, 2]].tolist() == [1, 1]


def test_bins_by_definition() -> None:
    bins = weighting_function(32, 0.5, 4.0, dtype=torch.float64)
    assert bins.shape == (33,) and bins[16] == 0 and bins[0] == -4 and bins[-1] == 4
    assert torch.equal(bins, -bins.flip(0)) and (bins.diff() > 0).all()
    kappa = 3.0 ** (1 / 15)
    for n in range(1, 32):
        distance = kappa ** abs(n - 16) - 1
        assert bins[n].item() == pytest.approx(distance if n > 16 else -distance, abs=1e-12)
    assert weighting_function(32).dtype == torch.float32


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        ((31, 0.5, 4.0), 'reg_max is 31; it must be an even number of at least 4, nearest: 30'),
        ((2, 0.5, 4.0), 'reg_max is 2; it must be an even number of at least 4, nearest: 4'),
        ((32, 0.0, 4.0), 'up is 0.0; it must be a finite number > 0, such as 0.5'),
        ((32, 0.5, -4.0), 'reg_scale is -4.0; it must be a finite number > 0, such as 4.0'),
    ],
)
def test_invalid_bins(arguments: tuple[int, float, float], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        weighting_function(*arguments)
    assert str(caught.value) == sentence


def test_targets_by_hand() -> None:
    reference, corners = boxes(40)
    bins = weighting_function(16, dtype=torch.float64)
    index, right = edge_targets(reference, corners, bins, 4.0)
    steps = bins.tolist()
    for k, ((x, y, w, h), (x1, y1, x2, y2)) in enumerate(zip(reference.tolist(), corners.tolist())):
        for edge, (distance, size) in enumerate([(x - x1, w), (y - y1, h), (x2 - x, w), (y2 - y, h)]):
            offset = min(max(4 * (distance / size - 0.5), steps[0]), steps[-1])
            left = min(bisect_right(steps, offset) - 1, 15)
            assert index[k, edge] == left
            weight = (offset - steps[left]) / (steps[left + 1] - steps[left])
            assert right[k, edge].item() == pytest.approx(weight, abs=1e-9)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32], ids=str)
def test_decoding_undoes_the_targets(dtype: torch.dtype) -> None:
    reference, corners = boxes(200, dtype)
    bins = weighting_function(32, dtype=dtype)
    target = dense(*edge_targets(reference, corners, bins, 4.0), 33)
    assert target.min() >= 0
    # Edges beyond the last bin stay a full reference size away from where they started.
    size = reference[:, 2:].repeat(1, 2)
    start = to_corners(reference)
    reachable = torch.minimum(torch.maximum(corners, start - size), start + size)
    decoded = to_corners(refine_boxes(reference, expected_offsets(target.log(), bins), 4.0))
    torch.testing.assert_close(decoded, reachable, rtol=0, atol=1e-9 if dtype == torch.float64 else 1e-5)


def test_targets_do_not_depend_on_position_or_unit() -> None:
    reference, corners = boxes(50)
    bins = weighting_function(32, dtype=torch.float64)
    shift = torch.tensor([3.0, -2.0], dtype=torch.float64)
    moved = torch.cat([reference[:, :2] + shift, reference[:, 2:]], dim=-1) * 640
    first = dense(*edge_targets(reference, corners, bins, 4.0), 33)
    second = dense(*edge_targets(moved, (corners + shift.repeat(2)) * 640, bins, 4.0), 33)
    torch.testing.assert_close(first, second, rtol=0, atol=1e-9)


def test_an_edge_on_a_bin() -> None:
    bins = torch.tensor([-4.0, -2.0, 0.0, 2.0, 4.0])
    reference = torch.tensor([0.0, 0.0, 4.0, 4.0])
    index, right = edge_targets(reference, torch.tensor([-2.0, -4.0, 6.0, -2.0]), bins, 4.0)
    assert index.tolist() == [2, 3, 3, 0] and right.tolist() == [0.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_degenerate_references_give_valid_targets(dtype: torch.dtype) -> None:
    reference = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.5, 0.5, -0.1, 1e-7], [0.5, 0.5, -1e-16, 5e-17]]).to(dtype)
    corners = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.1, 0.6, 0.9, 0.4], [-1e4, 0.5, 1e4, 0.5]]).to(dtype)
    index, right = edge_targets(reference, corners, weighting_function(32), 4.0)
    assert index.dtype == torch.int64 and index.min() >= 0 and index.max() <= 31
    assert right.isfinite().all() and right.min() >= 0 and right.max() <= 1
    assert right.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_leading_dimensions_broadcast() -> None:
    reference, corners = boxes(6)
    bins = weighting_function(32, dtype=torch.float64)
    index, right = edge_targets(reference[:, None], corners, bins, 4.0)
    assert index.shape == right.shape == (6, 6, 4)
    one = edge_targets(reference[4], corners[1], bins, 4.0)
    assert torch.equal(index[4, 1], one[0]) and torch.equal(right[4, 1], one[1])
    offsets = torch.randn(3, 6, 4, dtype=torch.float64)
    assert torch.equal(refine_boxes(reference, offsets, 4.0)[2], refine_boxes(reference, offsets[2], 4.0))


def test_nothing_to_decode() -> None:
    bins = weighting_function(32)
    index, right = edge_targets(torch.zeros(0, 4), torch.zeros(0, 4), bins, 4.0)
    assert index.shape == right.shape == (0, 4)
    assert refine_boxes(torch.zeros(0, 4), expected_offsets(torch.zeros(0, 4, 33), bins), 4.0).shape == (0, 4)


def test_targets_carry_no_gradient() -> None:
    reference, corners = boxes(3)
    _, right = edge_targets(reference.requires_grad_(), corners.requires_grad_(), weighting_function(32), 4.0)
    assert not right.requires_grad


def test_gradcheck() -> None:
    reference = boxes(2)[0].requires_grad_()
    logits = torch.randn(2, 4, 9, dtype=torch.float64, requires_grad=True)
    bins = weighting_function(8, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda r, z: refine_boxes(r, expected_offsets(z, bins), 4.0), (reference, logits))


def test_equal_logits_leave_the_reference() -> None:
    reference = boxes(5)[0]
    offsets = expected_offsets(torch.zeros(5, 4, 33, dtype=torch.float64), weighting_function(32))
    torch.testing.assert_close(refine_boxes(reference, offsets, 4.0), reference, rtol=0, atol=1e-12)


def test_nothing_is_clamped() -> None:
    crossed = refine_boxes(torch.tensor([0.5, 0.5, 0.2, 0.2]), torch.full((4,), -4.0), 4.0)
    torch.testing.assert_close(crossed, torch.tensor([0.5, 0.5, -0.2, -0.2]))


@pytest.mark.parametrize('dtype', AUTOCAST_TYPES, ids=str)
def test_autocast(dtype: torch.dtype) -> None:
    reference, corners = boxes(20, torch.float32)
    bins = weighting_function(32)
    logits = torch.randn(20, 4, 33)

    def decode() -> Tensor:
        return refine_boxes(reference, expected_offsets(logits, bins), 4.0)

    with torch.autocast('cpu', dtype):
        actual, index, right = decode(), *edge_targets(reference, corners, bins, 4.0)
    assert actual.dtype == right.dtype == torch.float32
    torch.testing.assert_close(actual, decode(), rtol=0, atol=1e-6)
    expected = edge_targets(reference, corners, bins, 4.0)
    assert torch.equal(index, expected[0]) and torch.equal(right, expected[1])


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    logits, reference = torch.randn(20, 4, 33).to(dtype), boxes(20)[0].to(dtype)
    bins = weighting_function(32)
    actual = refine_boxes(reference, expected_offsets(logits, bins), 4.0)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, refine_boxes(reference.float(), expected_offsets(logits.float(), bins), 4.0))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_cuda_without_host_sync() -> None:
    reference, corners = boxes(20, torch.float32)
    bins = weighting_function(32)
    logits = torch.randn(20, 4, 33)
    index, right = edge_targets(reference, corners, bins, 4.0)
    expected = refine_boxes(reference, expected_offsets(logits, bins), 4.0)
    inputs = [x.cuda() for x in (reference, corners, bins, logits)]
    torch.cuda.set_sync_debug_mode('error')
    try:
        actual = edge_targets(*inputs[:3], 4.0)
        decoded = refine_boxes(inputs[0], expected_offsets(inputs[3], inputs[2]), 4.0)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    torch.testing.assert_close(dense(actual[0].cpu(), actual[1].cpu(), 33), dense(index, right, 33), rtol=0, atol=1e-4)
    torch.testing.assert_close(decoded.cpu(), expected, rtol=1e-5, atol=1e-5)


def near_boxes(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Boxes (2, 5, 4) and boxes near them."""
    generator = torch.Generator().manual_seed(seed)
    boxes = 0.3 + 0.2 * torch.rand(2, 5, 4, generator=generator, dtype=torch.float64)
    return boxes, boxes * (1 + 0.02 * torch.randn(2, 5, 4, generator=generator, dtype=torch.float64))


@pytest.mark.parametrize('scale', [4.0, 8.0])
def test_moved_distributions_keep_the_mean_position_of_every_edge(scale: float) -> None:
    """The mean decodes to the same box, also on bins of another scale and number."""
    boxes, others = near_boxes()
    fine, coarse = weighting_function(32, reg_scale=4.0), weighting_function(16, reg_scale=scale)
    logits = torch.randn(2, 5, 4, 33, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    # Positions beyond the last bins are moved to them.
    logits[..., :6] = logits[..., -6:] = -torch.inf
    probability = logits.softmax(dim=-1)
    moved = move_distributions(probability, EdgeBins(boxes, fine, 4.0), EdgeBins(others, coarse, scale))
    torch.testing.assert_close(moved.sum(dim=-1), torch.ones(2, 5, 4, dtype=torch.float64))
    expected = refine_boxes(boxes, (probability * fine).sum(dim=-1), 4.0)
    torch.testing.assert_close(refine_boxes(others, (moved * coarse).sum(dim=-1), scale), expected, rtol=0, atol=1e-7)


def test_moved_distributions_of_certain_edges_are_the_targets_of_fgl() -> None:
    """All probability at one bin gives what a true edge at its position gives, also outside of the bins."""
    boxes, others = near_boxes()
    bins = weighting_function(32)
    index = torch.randint(33, (2, 5, 4), generator=torch.Generator().manual_seed(2))
    certain = torch.nn.functional.one_hot(index, 33).double()
    moved = move_distributions(certain, EdgeBins(boxes, bins, 4.0), EdgeBins(others, bins, 4.0))
    corners = to_corners(refine_boxes(boxes, bins.double()[index], 4.0))
    left, right = edge_targets(others, corners, bins, 4.0)
    torch.testing.assert_close(moved, dense(left, right, 33), rtol=0, atol=1e-6)


def test_distributions_stay_where_references_and_bins_are_equal() -> None:
    boxes, _ = near_boxes()
    bins = weighting_function(32).double()
    probability = torch.randn(2, 5, 4, 33, generator=torch.Generator().manual_seed(1)).double().softmax(dim=-1)
    side = EdgeBins(boxes, bins, 4.0)
    torch.testing.assert_close(move_distributions(probability, side, side), probability)
    flat = EdgeBins(boxes * boxes.new_tensor([1, 1, 0, 1]), bins, 4.0)
    assert move_distributions(probability, side, flat).isfinite().all()
    assert (
        move_distributions(probability[:0], EdgeBins(boxes[:0], bins, 4.0), EdgeBins(boxes[:0], bins, 4.0)).numel() == 0
    )
