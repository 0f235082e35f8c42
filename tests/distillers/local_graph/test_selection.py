from __future__ import annotations

import math

import pytest
import torch

from kd_plugins.distillers.local_graph.selection import (
    channel_max,
    class_score,
    effective_support,
    feature_norm,
    reweighting,
    top_points,
)


def test_importance_of_points() -> None:
    features = torch.tensor([[3.0, -4.0], [-1.0, -2.0]])
    assert channel_max(features).tolist() == [3.0, -1.0]
    assert feature_norm(features).tolist() == [5.0, pytest.approx(math.sqrt(5))]
    torch.testing.assert_close(class_score(features), torch.tensor([3.0, -1.0]).sigmoid())
    for function in (channel_max, feature_norm, class_score):
        assert function(torch.zeros(0, 4)).shape == (0,)


def test_top_points_are_the_highest_and_capped() -> None:
    importance = torch.tensor([0.3, 0.9, -1.0, 0.5])
    assert set(top_points(importance, 2).tolist()) == {1, 3}
    assert sorted(top_points(importance, 9).tolist()) == [0, 1, 2, 3]
    assert top_points(importance[:0], 3).shape == (0,)


def test_weights_are_the_softmax_of_the_definition() -> None:
    importance = torch.tensor([0.2, 1.0, 3.0, 0.4], dtype=torch.float64)
    deviation = importance.std(correction=0)
    for temperature in (0.5, 2.0):
        wanted = (importance / temperature).exp() / (importance / temperature).exp().sum()
        torch.testing.assert_close(reweighting(importance, temperature, standardize=False), wanted)
        wanted = (importance / deviation / temperature).exp()
        torch.testing.assert_close(reweighting(importance, temperature), wanted / wanted.sum())


def test_standardized_weights_ignore_the_unit_of_importance() -> None:
    importance = torch.rand(20, dtype=torch.float64)
    wanted = reweighting(importance, 0.7)
    torch.testing.assert_close(reweighting(1000 * importance, 0.7), wanted)
    torch.testing.assert_close(reweighting(importance + 5, 0.7), wanted)
    assert not torch.allclose(reweighting(1000 * importance, 0.7, standardize=False), wanted)


@pytest.mark.parametrize('temperature', [None, 1e-3, 1.0, 100.0])
@pytest.mark.parametrize('values', [[2.0], [3.0, 3.0, 3.0], [0.1] * 7, [1e30, 0.0], [-1e4, 1e4, 0.0], [1e-30, 0.0]])
def test_weights_are_finite_and_sum_to_one(temperature: float | None, values: list[float]) -> None:
    weights = reweighting(torch.tensor(values, requires_grad=True), temperature)
    assert not weights.requires_grad
    torch.testing.assert_close(weights.sum(), torch.ones(()))
    assert (weights >= 0).all()


def test_equal_importance_weighs_the_same_however_rounded() -> None:
    rounded = torch.full((50,), 0.1) + 1e-8 * torch.randn(50)
    torch.testing.assert_close(reweighting(rounded, 0.01), torch.full((50,), 0.02))


def test_samples_have_their_own_weights() -> None:
    importance = torch.rand(3, 8)
    assert torch.equal(top_points(importance, 2), torch.stack([top_points(row, 2) for row in importance]))
    for temperature in (None, 0.3):
        actual = reweighting(importance, temperature)
        torch.testing.assert_close(actual, torch.stack([reweighting(row, temperature) for row in importance]))
        torch.testing.assert_close(effective_support(actual), torch.stack([effective_support(row) for row in actual]))


def test_no_points() -> None:
    for temperature in (None, 1.0):
        weights = reweighting(torch.zeros(0), temperature)
        assert weights.shape == (0,)
        assert effective_support(weights) == 0


def test_effective_support_counts_who_shares_the_weight() -> None:
    assert effective_support(torch.full((8,), 1 / 8)) == pytest.approx(8)
    assert effective_support(torch.tensor([0.5, 0.5, 0.0])) == pytest.approx(2)
    assert effective_support(torch.tensor([3.0, 3.0, 0.0])) == pytest.approx(2)
    importance = torch.rand(100)
    supports = [float(effective_support(reweighting(importance, t))) for t in (0.05, 0.5, 5.0)]
    assert supports == sorted(supports) and supports[0] < 10 and supports[2] > 90


def test_counts_at_the_released_temperature_leave_the_fullest_voxels_alone() -> None:
    """What makes the released weights a hard choice: exp(-1 / 0.01) is 0."""
    counts = torch.randint(1, 33, (6000,), generator=torch.Generator().manual_seed(0)).float()
    weights = reweighting(counts, 1e-2, standardize=False)
    assert effective_support(weights) == pytest.approx(float((counts == 32).sum()))
    assert weights[counts < 32].max() < 1e-30
