from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from kd_plugins.errors import ConfigError
from kd_plugins.losses import pearson_distance
from kd_plugins.registry import MODELS
from tests.losses.golden import cosines, sines
from tests.losses.tester import LossTester
from tests.ranks import on_two_ranks

STATISTICS = ['batch', 'image']


class TestBatch(LossTester):
    shape = (2, 3, 4, 5)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return pearson_distance([student], [teacher])

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        """By the definition, with the eps of the release."""
        rows = [x.movedim(1, 0).flatten(1) for x in (student, teacher)]
        s, t = ((x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 1e-6) for x in rows)
        return (s - t).square().mean() / 2

    def test_batch_duplication(self) -> None:
        """The unbiased deviation makes the distance of m positions (m - 1) / m of that of many."""
        student, teacher = self.inputs()
        count = self.counted(student)
        twice = self.loss(torch.cat([student, student]), torch.cat([teacher, teacher]))
        once = self.loss(student, teacher) * count / (count - 1)
        torch.testing.assert_close(twice * 2 * count / (2 * count - 1), once, rtol=1e-5, atol=0)

    def counted(self, x: Tensor) -> int:
        return x.numel() // x.shape[1]


class TestImage(TestBatch):
    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return pearson_distance([student], [teacher], stats='image')

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        pairs = zip(student, teacher)
        return torch.stack([TestBatch.reference(self, s[None], t[None]) for s, t in pairs]).mean()

    def test_batch_duplication(self) -> None:
        LossTester.test_batch_duplication(self)


@pytest.mark.parametrize(('stats', 'value'), [('batch', 0.977494), ('image', 0.946989)])
def test_value_of_the_release(stats: str, value: float) -> None:
    """``PKDLoss`` of mmrazor (90c7af1) on these inputs, and the mean of its values for each image."""
    actual = pearson_distance([sines(2, 3, 4, 5)], [cosines(2, 3, 4, 5)], stats=stats)
    assert actual.item() == pytest.approx(value, abs=1e-6)


def test_identity_with_the_correlation() -> None:
    student, teacher = (x.movedim(1, 0).flatten(1) for x in (sines(2, 3, 4, 5), cosines(2, 3, 4, 5)))
    correlations = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(student, teacher)])
    expected = 39 / 40 * (1 - correlations.mean())
    assert expected.item() == pytest.approx(0.977497, abs=1e-6)
    actual = pearson_distance([sines(2, 3, 4, 5)], [cosines(2, 3, 4, 5)])
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize('stats', STATISTICS)
def test_scale_and_offset_of_a_channel_change_nothing(stats: str) -> None:
    student, teacher = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64)
    scale, offset = torch.rand(4, 1, 1, dtype=torch.float64) + 0.5, torch.randn(4, 1, 1, dtype=torch.float64)
    plain = pearson_distance([student], [teacher], stats=stats)
    for s, t in ((student * scale + offset, teacher), (student, teacher * scale + offset)):
        torch.testing.assert_close(pearson_distance([s], [t], stats=stats), plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('stats', STATISTICS)
def test_padding_changes_nothing(stats: str) -> None:
    """Two images without padding equal the same images in a larger batch."""
    generator = torch.Generator().manual_seed(2)
    student, teacher = torch.randn(2, 2, 3, 4, 5, generator=generator)
    valid = torch.zeros(2, 6, 7, dtype=torch.bool)
    valid[:, :4, :5] = True
    padded = []
    for x in (student, teacher):
        full = torch.full((2, 3, 6, 7), 100.0)
        full[:, :, :4, :5] = x
        padded.append(full.requires_grad_())
    actual = pearson_distance([padded[0]], [padded[1]], [valid.flatten(1)], stats)
    torch.testing.assert_close(actual, pearson_distance([student], [teacher], stats=stats))
    actual.backward()
    assert padded[0].grad is not None
    assert padded[0].grad[:, :, :4, :5].abs().sum() > 0 and not padded[0].grad[:, :, 4:].any()


@pytest.mark.parametrize('stats', STATISTICS)
@pytest.mark.parametrize('spatial', [(6,), (3, 2), (1, 3, 2)], ids=str)
def test_any_number_of_dimensions(stats: str, spatial: tuple[int, ...]) -> None:
    student, teacher = torch.randn(2, 2, 4, 6)
    shaped = [[x.unflatten(2, spatial)] for x in (student, teacher)]
    expected = pearson_distance([student], [teacher], stats=stats)
    torch.testing.assert_close(pearson_distance(*shaped, stats=stats), expected)
    torch.testing.assert_close(pearson_distance([student.mT], [teacher.mT], stats=stats, dim=-1), expected)


def test_vectors_of_images() -> None:
    student, teacher = torch.randn(2, 5, 4)
    actual = pearson_distance([student], [teacher])
    torch.testing.assert_close(actual, pearson_distance([student.T[None]], [teacher.T[None]]))


@pytest.mark.parametrize('stats', STATISTICS)
def test_constant_channels(stats: str) -> None:
    """As by the release, a channel without a spread is 0; its gradient is 0 and not 1e6."""
    student = torch.zeros(1, 2, 9)
    student[:, 1] = torch.arange(9.0)
    student.requires_grad_()
    teacher = torch.arange(9.0).expand(1, 2, 9)
    value = pearson_distance([student], [teacher], stats=stats)
    value.backward()
    assert value.item() == pytest.approx(8 / 9 / 4, abs=1e-5)
    assert student.grad is not None and not student.grad[:, 0].any()


@pytest.mark.parametrize('stats', STATISTICS)
def test_constant_channels_of_large_maps(stats: str) -> None:
    """The mean of many equal values is rounded, and the difference from it is no spread."""
    constant, other = torch.full((1, 1, 20000), 37.7, requires_grad=True), torch.randn(1, 1, 20000)
    value = pearson_distance([constant], [other], stats=stats)
    assert value.item() == pytest.approx(0.5, abs=1e-3)
    assert not torch.autograd.grad(value, constant)[0].any()
    assert pearson_distance([other], [constant], stats=stats) == value


@pytest.mark.parametrize('stats', STATISTICS)
def test_one_position_or_none(stats: str) -> None:
    for shape in ((1, 4, 1, 1), (2, 4, 0, 3), (0, 4, 3, 3)):
        student = torch.randn(shape, requires_grad=True)
        value = pearson_distance([student], [torch.randn(shape)], stats=stats)
        value.backward()
        assert value == 0 and student.grad is not None and not student.grad.any()
    nothing = torch.zeros(2, 6, dtype=torch.bool)
    assert pearson_distance([torch.randn(2, 4, 6)], [torch.randn(2, 4, 6)], [nothing], stats) == 0


@pytest.mark.parametrize('stats', STATISTICS)
def test_levels_are_averaged(stats: str) -> None:
    levels = [torch.randn(2, 2, 3, 4), torch.randn(2, 2, 5, 6)]
    both = pearson_distance([x[0] for x in levels], [x[1] for x in levels], stats=stats)
    alone = [pearson_distance([x[0]], [x[1]], stats=stats) for x in levels]
    torch.testing.assert_close(both, sum(alone) / 2)


def test_module() -> None:
    student, teacher = torch.randn(2, 2, 3, 4)
    loss = MODELS.build({'type': 'kd_plugins.PearsonFeatureLoss', 'stats': 'image', 'channel_dim': -1})
    assert loss([student], [teacher]) == pearson_distance([student], [teacher], stats='image', dim=-1)
    with pytest.raises(ConfigError, match="stats is 'images'; nearest: 'image'"):
        pearson_distance([student], [teacher], stats='images')


def _data() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    student, teacher = torch.randn(2, 5, 4, 6, generator=generator, dtype=torch.float64)
    return student, teacher + 3.0, torch.rand(5, 6, generator=generator) > 0.2


SPLITS = [[slice(0, 2), slice(2, 5)], [slice(0, 0), slice(0, 5)]]


def _shares() -> list[dict[str, tuple[Tensor, Tensor]]]:
    results = []
    for split in SPLITS:
        student, teacher, valid = (x[split[dist.get_rank()]] for x in _data())
        student.requires_grad_()
        values = {stats: pearson_distance([student], [teacher], [valid], stats) for stats in STATISTICS}
        results.append({k: (v.detach(), torch.autograd.grad(v, student)[0]) for k, v in values.items()})
    return results


@pytest.mark.distributed
def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    first, second = on_two_ranks(tmp_path, _shares)
    for stats in STATISTICS:
        student, teacher, valid = _data()
        expected = pearson_distance([student.requires_grad_()], [teacher], [valid], stats)
        (gradient,) = torch.autograd.grad(expected, student)
        for one, other in zip(first, second):
            # DDP averages over ranks: the value in the log, and the gradients.
            torch.testing.assert_close((one[stats][0] + other[stats][0]) / 2, expected.detach())
            torch.testing.assert_close(torch.cat([one[stats][1], other[stats][1]]) / 2, gradient)
