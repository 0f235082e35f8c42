from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.distillers.local_graph.edges import edge_gap, edge_outputs, edge_statistics, neighbour_sum, pooled_gap
from kd_plugins.profiling.memory import LiveBytes
from tests.torch_features import LIVE_BYTES

CHANNELS = 6


def draw(count: int, selected: int, size: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return neighbour terms, centre terms and neighbours of random points."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, CHANNELS, generator=generator, dtype=torch.float64)
    centers = torch.randn(selected, CHANNELS, generator=generator, dtype=torch.float64)
    neighbours = torch.stack([torch.randperm(count, generator=generator)[:size] for _ in range(selected)])
    return values, centers, neighbours


def rows(values: Tensor, centers: Tensor, neighbours: Tensor) -> Tensor:
    """Return every edge's value, (N, K, C)."""
    return torch.stack([values[indices] + center for center, indices in zip(centers, neighbours)])


@pytest.mark.parametrize('chunk', [1, 50, 2**20])
def test_neighbour_sum(chunk: int) -> None:
    values, _, neighbours = draw(9, 5, 4)
    values.requires_grad_()
    torch.testing.assert_close(neighbour_sum(values, neighbours, chunk), values[neighbours].sum(dim=1))
    assert torch.autograd.gradcheck(lambda x: neighbour_sum(x, neighbours, chunk), (values,))


def test_statistics_are_those_of_the_tensor_of_all_edges() -> None:
    values, centers, near = draw(9, 5, 4)
    neighbours = [near[:3], near[3:, :2], near[:0]]
    values.requires_grad_(), centers.requires_grad_()
    every = torch.cat(
        [rows(values, part, group).flatten(0, 1) for part, group in zip(centers.split([3, 2]), neighbours)]
    )
    wanted = every.mean(dim=0), every.var(dim=0, correction=0)
    for chunk in (1, 2**20):
        actual = edge_statistics(values, centers, neighbours, chunk)
        for value, reference in zip(actual, wanted):
            torch.testing.assert_close(value, reference, rtol=1e-12, atol=1e-12)
            direction = torch.linspace(-1, 2, CHANNELS, dtype=torch.float64)
            grads = [
                torch.autograd.grad(x @ direction, (values, centers), retain_graph=True) for x in (value, reference)
            ]
            for first, second in zip(*grads):
                torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-12)


def test_a_large_constant_costs_no_precision() -> None:
    values, centers, neighbours = draw(300, 100, 16)
    _, wanted = edge_statistics(values, centers, [neighbours])
    _, actual = edge_statistics(values.float() + 1000, centers.float() - 3000, [neighbours])
    torch.testing.assert_close(actual, wanted.float(), rtol=1e-3, atol=0)


@pytest.mark.parametrize('chunk', [1, 60, 2**20])
def test_gap_is_the_mean_over_edges(chunk: int) -> None:
    values, centers, neighbours = draw(9, 5, 4)
    first, second = F.relu(rows(values, centers, neighbours)).chunk(2, dim=2)
    actual = edge_gap(values, centers, neighbours, chunk)
    torch.testing.assert_close(actual, (first - second).square().mean(dim=(1, 2)))
    torch.testing.assert_close(edge_outputs(values, centers, neighbours), torch.cat([first, second], dim=2))
    values.requires_grad_(), centers.requires_grad_()
    assert torch.autograd.gradcheck(lambda v, c: edge_gap(v, c, neighbours, chunk), (values, centers))


def test_pooled_gap_is_that_of_the_maxima() -> None:
    values, centers, neighbours = draw(9, 5, 4)
    first, second = F.relu(rows(values, centers, neighbours)).amax(dim=1).chunk(2, dim=1)
    torch.testing.assert_close(pooled_gap(values, centers, neighbours), (first - second).square().mean(dim=1))
    values.requires_grad_(), centers.requires_grad_()
    assert torch.autograd.gradcheck(lambda v, c: pooled_gap(v, c, neighbours), (values, centers))


def test_inputs_are_left_alone() -> None:
    values, centers, neighbours = draw(9, 5, 4)
    before = values.clone(), centers.clone()
    edge_gap(values.requires_grad_(), centers.requires_grad_(), neighbours).sum().backward()
    assert torch.equal(values, before[0]) and torch.equal(centers, before[1])


def test_no_edges() -> None:
    values, centers = torch.zeros(0, CHANNELS, requires_grad=True), torch.zeros(0, CHANNELS, requires_grad=True)
    neighbours = torch.zeros(0, 0, dtype=torch.long)
    for gap in (edge_gap, pooled_gap):
        actual = gap(values, centers, neighbours)
        assert actual.shape == (0,)
    assert neighbour_sum(values, neighbours).shape == (0, CHANNELS)
    mean, variance = edge_statistics(values, centers, [neighbours])
    assert mean.eq(0).all() and variance.eq(0).all()
    (mean.sum() + variance.sum() + edge_gap(values, centers, neighbours).sum()).backward()
    assert values.grad is not None and centers.grad is not None


@LIVE_BYTES
def test_no_tensor_of_all_edges_exists() -> None:
    values, centers, neighbours = (x.float() if x.is_floating_point() else x for x in draw(500, 400, 64))
    values.requires_grad_(), centers.requires_grad_()
    every_edge = 400 * 64 * CHANNELS * 4
    with LiveBytes([values, centers, neighbours]) as live:
        mean, variance = edge_statistics(values, centers, [neighbours], chunk=2**12)
        (edge_gap(values, centers, neighbours, chunk=2**12).sum() + mean.sum() + variance.sum()).backward()
    held = sum(x.nbytes for x in (values, centers, neighbours))
    assert live.peak - held < every_edge / 4


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="MMCV's grouping needs a GPU")
def test_edges_are_the_groups_of_mmcv() -> None:
    ops = pytest.importorskip('mmcv.ops')
    values, centers, neighbours = (x.cuda() for x in draw(50, 20, 8))
    grouped = ops.grouping_operation(values.float().T[None].contiguous(), neighbours.int()[None])[0]
    actual = edge_outputs(values.float(), torch.zeros_like(centers).float(), neighbours)
    torch.testing.assert_close(actual, grouped.permute(1, 2, 0).relu())


def test_statistics_of_many_points_are_exact() -> None:
    """Equal values of a cloud of points have their value as the mean, and no variance."""
    values, centers = torch.full((40000, 3), 0.3), torch.zeros(40000, 3)
    mean, variance = edge_statistics(values, centers, [torch.arange(40000)[:, None]])
    torch.testing.assert_close(mean, torch.full((3,), 0.3), rtol=1e-6, atol=0)
    assert (variance < 1e-12).all()
