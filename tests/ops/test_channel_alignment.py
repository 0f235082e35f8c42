"""Statistics of channels: values, padding, gradients, ranks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from kd_plugins.ops.channel_alignment import aligned_channels, channel_moments
from tests.ranks import on_two_ranks


def maps(seed: int = 0, images: int = 2, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(images, 3, *size, generator=generator, dtype=torch.float64).to(dtype) for size in ((4, 5), (2, 3))
    ]


def everywhere(levels: list[Tensor]) -> list[Tensor]:
    return [torch.ones_like(x[:, :1], dtype=torch.bool) for x in levels]


def test_golden_value() -> None:
    """The first position of the released alignment."""
    numbers = torch.arange(24.0)
    student, teacher = ((0.37 * numbers).sin(), 5 * (0.53 * numbers + 0.2).cos() + 1)
    student, teacher = student.view(2, 3, 2, 2), teacher.view(2, 3, 2, 2)
    (aligned,) = aligned_channels([student], [teacher], everywhere([student]))
    expected = torch.tensor([3.767573, -2.405745, 2.845400])
    torch.testing.assert_close(aligned[0, :, 0, 0], expected, rtol=0, atol=5e-6)


def test_moments_are_those_of_torch() -> None:
    levels = maps()
    for x, (mean, std) in zip(levels, channel_moments(levels, everywhere(levels))):
        expected_std, expected_mean = torch.std_mean(x, dim=(0, 2, 3))
        torch.testing.assert_close(mean, expected_mean)
        torch.testing.assert_close(std, expected_std)


def test_aligned_maps_have_the_moments_of_the_teacher() -> None:
    student, teacher = maps(), [3 * x + 2 for x in maps(seed=1)]
    valid = everywhere(student)
    aligned = aligned_channels(student, teacher, valid)
    for mine, theirs in zip(channel_moments(aligned, valid), channel_moments(teacher, valid)):
        torch.testing.assert_close(mine[0], theirs[0])
        torch.testing.assert_close(mine[1], theirs[1], rtol=1e-5, atol=1e-5)
    # Scale and offset of the student's channels have no effect.
    for x, y in zip(aligned, aligned_channels([5 * x - 3 for x in student], teacher, valid)):
        torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-5)


def test_cells_that_do_not_count() -> None:
    student, teacher, valid = maps(), maps(seed=1), everywhere(maps())
    for mask in valid:
        mask[1, :, :, -1] = False
    aligned = aligned_channels(student, teacher, valid)
    for levels in (student, teacher):
        for x in levels:
            x[1, :, :, -1] = 1e3
    for x, y, mask in zip(aligned, aligned_channels(student, teacher, valid), valid):
        torch.testing.assert_close(x * mask, y * mask)


def test_gradcheck() -> None:
    student, teacher, valid = maps(), maps(seed=1), everywhere(maps())
    valid[0][0, :, 0] = False
    assert torch.autograd.gradcheck(
        lambda *x: aligned_channels(x, teacher, valid), [x.requires_grad_() for x in student], fast_mode=True
    )


@pytest.mark.parametrize('cells', ['none', 'one', 'constant'])
def test_channels_without_deviation(cells: str) -> None:
    student, teacher = maps(dtype=torch.float32)[1].requires_grad_(), maps(1, dtype=torch.float32)[1]
    valid = torch.ones(2, 1, 2, 3, dtype=torch.bool)
    if cells != 'constant':
        valid[:] = False
        valid[0, 0, 0, 0] = cells == 'one'
    x = student * 0 if cells == 'constant' else student
    (aligned,) = aligned_channels([x], [teacher], [valid])
    mean = channel_moments([teacher], [valid])[0][0]
    torch.testing.assert_close(aligned, mean[:, None, None].expand_as(aligned))
    aligned.square().sum().backward()
    assert student.grad is not None and student.grad.isfinite().all()


@pytest.mark.parametrize('value', [0.3, 3.3, 100.1])
def test_constant_channels_of_large_maps(value: float) -> None:
    """The mean of equal values is rounded, and the difference from it is no deviation."""
    student = torch.full((2, 1, 8, 8), value, requires_grad=True)
    teacher, valid = torch.randn(2, 1, 8, 8), torch.ones(2, 1, 8, 8, dtype=torch.bool)
    (aligned,) = aligned_channels([student], [teacher], [valid])
    assert (aligned == channel_moments([teacher], [valid])[0][0]).all()
    assert not torch.autograd.grad((aligned * torch.randn_like(aligned)).sum(), student)[0].any()


def test_without_images_and_half_precision() -> None:
    student = [x[:0].requires_grad_() for x in maps(dtype=torch.float32)]
    aligned = aligned_channels(student, [x.detach() for x in student], everywhere(student))
    torch.stack([x.sum() for x in aligned]).sum().backward()
    assert all(x.shape == y.shape for x, y in zip(student, aligned)) and student[0].grad is not None
    half = [x.to(torch.bfloat16) for x in maps()]
    assert all(x.dtype == torch.float32 for x in aligned_channels(half, half, everywhere(half)))


def _gradients(images: list[slice]) -> list[Tensor]:
    """Gradients of the mean over ranks of a loss on a rank's images, or on the whole batch."""
    rank = dist.get_rank() if dist.is_initialized() else None
    part = slice(None) if rank is None else images[rank]
    student = [x[part].clone().requires_grad_() for x in maps(images=3)]
    teacher = [x[part] for x in maps(seed=1, images=3)]
    aligned = aligned_channels(student, teacher, everywhere(student))
    loss = torch.stack([x.pow(3).sum() for x in aligned]).sum()
    return list(torch.autograd.grad(loss, student))


@pytest.mark.distributed
def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    images = [slice(0, 1), slice(1, 3)]
    ranks = on_two_ranks(tmp_path, _gradients, images)
    for level, whole in enumerate(_gradients(images)):
        torch.testing.assert_close(torch.cat([rank[level] for rank in ranks]), whole)
