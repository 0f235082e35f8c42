from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kd_plugins.distillers.local_graph.neighbours import joint_space, nearest_neighbours
from kd_plugins.profiling.memory import LiveBytes
from tests.torch_features import LIVE_BYTES


def cloud(count: int, size: int, seed: int = 0) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# The second and the last are searched in two steps.
@pytest.mark.parametrize(
    ('count', 'size', 'number'), [(40, 3, 6), (3000, 8, 7), (50, 4, 50), (50, 4, 80), (1999, 2, 1), (1201, 16, 64)]
)
@pytest.mark.parametrize('chunk', [1, 5000, 2**21])
def test_neighbours_are_those_of_scikit_learn(count: int, size: int, number: int, chunk: int) -> None:
    neighbors = pytest.importorskip('sklearn.neighbors')
    points = cloud(count, size)
    queries = torch.cat([points[: 30 if chunk > 1 else 3], cloud(3, size, seed=1)])
    actual = nearest_neighbours(queries, points, number, chunk)
    assert actual.shape == (len(queries), min(number, count)) and actual.dtype == torch.long
    oracle = neighbors.NearestNeighbors(n_neighbors=min(number, count), algorithm='brute').fit(points)
    _, wanted = oracle.kneighbors(queries)
    assert torch.equal(actual.sort(dim=1).values, torch.as_tensor(wanted).sort(dim=1).values)


@pytest.mark.parametrize('chunk', [50, 1000, 2**21])
def test_samples_have_their_own_neighbours(chunk: int) -> None:
    points = cloud(90, 4).view(3, 30, 4)
    actual = nearest_neighbours(points[:, :7], points, 5, chunk)
    for sample, near in zip(points, actual, strict=True):
        alone = nearest_neighbours(sample[:7], sample, 5)
        assert torch.equal(near.sort(dim=1).values, alone.sort(dim=1).values)
    assert nearest_neighbours(points[:, :0], points, 5).shape == (3, 0, 5)


def test_distances_far_from_the_origin_in_float32() -> None:
    points = (cloud(500, 3) + 1000).float()
    actual = nearest_neighbours(points, points, 5)
    distances = torch.cdist(points.double(), points.double())
    wanted = distances.topk(5, largest=False).values
    torch.testing.assert_close(distances.gather(1, actual).sort(dim=1).values, wanted, rtol=0, atol=1e-3)


def test_order_of_points_does_not_matter() -> None:
    points = cloud(700, 5)
    order = torch.randperm(700, generator=torch.Generator().manual_seed(1))
    first = nearest_neighbours(points[:20], points, 9)
    second = order[nearest_neighbours(points[:20], points[order], 9)]
    assert torch.equal(first.sort(dim=1).values, second.sort(dim=1).values)


def test_identical_points_are_all_near() -> None:
    actual = nearest_neighbours(torch.ones(4, 3), torch.ones(900, 3), 6)
    assert actual.shape == (4, 6) and all(len(set(row)) == 6 for row in actual.tolist())


@pytest.mark.parametrize(('queries', 'points'), [(0, 0), (0, 5), (3, 1)])
def test_few_points(queries: int, points: int) -> None:
    actual = nearest_neighbours(torch.zeros(queries, 2), torch.zeros(points, 2), 4)
    assert actual.shape == (queries, min(points, 4))
    assert not actual.any() or points > 1


@LIVE_BYTES
def test_the_matrix_of_distances_never_exists() -> None:
    points = cloud(2000, 4)
    with LiveBytes([points]) as live:
        nearest_neighbours(points, points, 8, chunk=2**15)
    assert live.peak < 2000 * 2000 * 8 / 20


def test_joint_space_gives_both_the_same_share() -> None:
    features, places = 7 * cloud(50, 6), cloud(50, 2, seed=1) + 30
    joint = joint_space(features, places.float())
    for part in joint.split([6, 2], dim=1):
        assert float(part.square().sum(dim=1).mean()) == pytest.approx(1)
    torch.testing.assert_close(joint_space(3 * features, places.float()), joint)
    two = joint_space(torch.stack([features, features[:1] + 0 * features]), places.float().expand(2, -1, -1))
    torch.testing.assert_close(two[0], joint)
    assert two[1, :, :6].eq(0).all()
    assert joint_space(torch.ones(3, 2), torch.ones(3, 2)).eq(0).all()
    assert joint_space(torch.ones(0, 2), torch.ones(0, 3)).shape == (0, 5)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="MMCV's kNN needs a GPU")
def test_neighbours_are_those_of_mmcv() -> None:
    ops = pytest.importorskip('mmcv.ops')
    points = cloud(2000, 3).float().cuda()
    wanted = ops.knn(12, points[None], points[None, :300].contiguous())[0].T.long()
    actual = nearest_neighbours(points[:300], points, 12)
    assert torch.equal(actual.sort(dim=1).values, wanted.sort(dim=1).values)
