from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.errors import ConfigError
from kd_plugins.losses import channel_wise_kl, feature_cosine, feature_cosine_l1, feature_loss, feature_mse
from kd_plugins.registry import MODELS
from tests.losses.golden import cosines, sines
from tests.losses.tester import LossTester


class TestMSE(LossTester):
    shape = (2, 3, 4, 5)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return feature_loss([student], [teacher], feature_mse)

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        return F.mse_loss(student, teacher)


class TestSumOfSquares(TestMSE):
    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return feature_loss([student], [teacher], sum_of_squares)

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        return F.mse_loss(student, teacher, reduction='sum') / 2


class TestCosine(LossTester):
    shape = (2, 3, 4, 5)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return feature_loss([student], [teacher], feature_cosine)

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        return (1 - F.cosine_similarity(student, teacher, dim=1)).mean()


class TestCosineAndL1(LossTester):
    shape = (2, 3, 4, 5)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return feature_loss([student], [teacher], feature_cosine_l1)

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        cosine = (1 - F.cosine_similarity(student, teacher, dim=1)).mean()
        return 0.9 * cosine + 0.1 * F.smooth_l1_loss(student, teacher)


def test_released_value_of_the_patches_of_gpfm() -> None:
    value = feature_cosine_l1(sines(2, 9, 4), cosines(2, 9, 4), dim=-1).mean()
    torch.testing.assert_close(value, torch.tensor(0.968803), rtol=0, atol=1e-6)


class TestChannelWise(LossTester):
    shape = (2, 3, 2, 4)
    temperature = 4.0

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return feature_loss([student], [teacher], lambda s, t: channel_wise_kl(s, t, self.temperature))

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Equation 4 of arXiv 2011.13256, channel by channel."""
        images = []
        for n in range(2):
            total = 0.0
            for c in range(3):
                p, q = (torch.exp(x[n, c].flatten() / self.temperature) for x in (teacher, student))
                p, q = p / p.sum(), q / q.sum()
                total = total + sum(p[i] * torch.log(p[i] / q[i]) for i in range(8))
            images.append(self.temperature**2 / 3 * total)
        return torch.stack(images).mean()


def sum_of_squares(student: Tensor, teacher: Tensor, valid: Tensor | None = None) -> Tensor:
    return feature_mse(student, teacher, reduction='sum', valid=valid)


LOSSES = [feature_mse, sum_of_squares, feature_cosine, channel_wise_kl]


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('spatial', [(6,), (3, 2), (1, 3, 2)])
def test_any_number_of_dimensions(loss, spatial: tuple[int, ...]) -> None:
    student, teacher = torch.randn(2, 2, 4, 6)
    shaped = [x.unflatten(2, spatial) for x in (student, teacher)]
    assert loss(*shaped).shape == (2,)
    torch.testing.assert_close(loss(*shaped), loss(student, teacher))


@pytest.mark.parametrize('loss', [feature_cosine, channel_wise_kl])
def test_channels_last(loss) -> None:
    student, teacher = torch.randn(2, 2, 4, 6)
    torch.testing.assert_close(loss(student.mT, teacher.mT, dim=-1), loss(student, teacher))


@pytest.mark.parametrize('loss', LOSSES)
def test_images_do_not_see_each_other(loss) -> None:
    student, teacher = torch.randn(2, 3, 4, 5, 6)
    alone = torch.cat([loss(student[i : i + 1], teacher[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(loss(student, teacher), alone)


@pytest.mark.parametrize('loss', LOSSES)
def test_positions_that_do_not_count(loss) -> None:
    """As if they did not exist, also where none is left."""
    student, teacher = torch.randn(2, 3, 4, 5, 6)
    valid = torch.zeros(3, 5, 6, dtype=torch.bool)
    valid[:2, :3, :4] = True
    student.requires_grad_()
    values = loss(student, teacher, valid=valid.flatten(1))
    expected = loss(student[:2, :, :3, :4], teacher[:2, :, :3, :4])
    torch.testing.assert_close(values, torch.cat([expected, torch.zeros(1)]))
    values.sum().backward()
    assert student.grad is not None and student.grad.isfinite().all()
    assert not student.grad.masked_fill(valid[:, None], 0.0).any() and student.grad.any()
    every = torch.ones(3, 30, dtype=torch.bool)
    torch.testing.assert_close(loss(student, teacher, valid=every), loss(student, teacher))


@pytest.mark.parametrize('loss', LOSSES)
def test_no_positions(loss) -> None:
    empty = torch.zeros(2, 4, 0, 3, requires_grad=True)
    values = loss(empty, empty.detach())
    values.sum().backward()
    assert values.tolist() == [0.0, 0.0]


def test_cosine_ignores_vectors_without_direction() -> None:
    student = torch.tensor([[[0.0, 1.0, 3.0], [0.0, 0.0, 4.0]]], requires_grad=True)
    teacher = torch.tensor([[[1.0, 0.0, 3.0], [0.0, 0.0, 4.0]]])
    value = feature_cosine(student, teacher)
    value.sum().backward()
    torch.testing.assert_close(value.detach(), torch.zeros(1))
    assert student.grad is not None and student.grad.abs().max() < 1e-6


def test_cosine_of_opposites_is_two() -> None:
    x = torch.randn(2, 8, 3)
    torch.testing.assert_close(feature_cosine(x, -5 * x), torch.full((2,), 2.0))


def test_channel_wise_ignores_the_level_of_a_channel() -> None:
    student = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(
        channel_wise_kl(student, student + torch.randn(2, 4, 1, 1)), torch.zeros(2), rtol=0, atol=1e-5
    )


def test_levels_are_averaged() -> None:
    maps = [torch.randn(2, 4, 6, 6), torch.randn(2, 4, 3, 3)]
    zeros = [torch.zeros_like(x) for x in maps]
    expected = (maps[0].square().mean() + maps[1].square().mean()) / 2
    torch.testing.assert_close(feature_loss(maps, zeros, feature_mse), expected)


def test_sum_of_squares_without_positions() -> None:
    assert sum_of_squares(torch.zeros(2), torch.tensor([1.0, 3.0])).tolist() == [1.0, 9.0]
    with pytest.raises(ConfigError, match="reduction is 'sums'; nearest: 'sum'"):
        feature_mse(torch.zeros(2), torch.zeros(2), reduction='sums')


@pytest.mark.parametrize(
    ('config', 'loss'),
    [
        ({'type': 'kd_plugins.FeatureMSELoss'}, feature_mse),
        ({'type': 'kd_plugins.FeatureMSELoss', 'reduction': 'sum'}, sum_of_squares),
        ({'type': 'kd_plugins.FeatureCosineLoss', 'channel_dim': 2}, lambda s, t: feature_cosine(s, t, dim=2)),
        ({'type': 'kd_plugins.ChannelWiseKLLoss', 'temperature': 3.0}, lambda s, t: channel_wise_kl(s, t, 3.0)),
    ],
)
def test_modules(config: dict, loss) -> None:
    student, teacher = [torch.randn(2, 3, 4)], [torch.randn(2, 3, 4)]
    assert MODELS.build(config)(student, teacher) == feature_loss(student, teacher, loss)
