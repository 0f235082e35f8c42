from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from kd_plugins.losses import localization_loss, quality_focal_kd_loss, softmax_kl_loss
from kd_plugins.ops.reduction import (
    global_mean,
    global_normalizer,
    mean_over_images,
    mean_per_image,
    shared_sum,
    sum_over_ranks,
    to_float,
    weighted_mean,
)
from tests.ranks import on_two_ranks


def test_global_mean_leaves_its_argument_alone() -> None:
    value = torch.ones((), requires_grad=True)
    mean = global_mean(value)
    assert not mean.requires_grad and mean.data_ptr() != value.data_ptr()


def test_weighted_mean() -> None:
    loss = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    weight = torch.tensor([[1.0, 0.0], [0.0, 3.0]], requires_grad=True)
    value = weighted_mean(loss, weight)
    value.backward()
    assert value.item() == 13 / 4
    assert loss.grad is not None and torch.equal(loss.grad, weight.detach() / 4)
    assert weight.grad is None


def test_normaliser_has_a_floor() -> None:
    assert global_normalizer(torch.tensor(0.1), 1.0) == 1.0
    assert global_normalizer(torch.tensor(3.0), 1.0) == 3.0


def test_means_of_nothing() -> None:
    assert mean_over_images(torch.zeros(0)) == 0
    assert mean_per_image(torch.zeros(2, 3, 0)).tolist() == [0.0, 0.0]
    assert mean_per_image(torch.zeros(0, 3)).shape == (0,)
    assert mean_per_image(torch.tensor([1.0, 2.0])).tolist() == [1.0, 2.0]


def test_to_float() -> None:
    assert to_float(torch.zeros(1, dtype=torch.float16)).dtype == torch.float32
    assert to_float(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64


def test_sum_over_one_rank_is_the_value() -> None:
    value = torch.ones(2, requires_grad=True)
    assert sum_over_ranks(value) is value and shared_sum(value) is value


def _square_of_sum() -> tuple[torch.Tensor, torch.Tensor]:
    share = torch.tensor([1.0, 2.0])[dist.get_rank()].requires_grad_()
    loss = sum_over_ranks(share).square()
    return loss.detach(), torch.autograd.grad(loss, share)[0]


@pytest.mark.distributed
def test_sum_over_two_ranks(tmp_path: Path) -> None:
    """Both ranks have the value, and the mean of DDP gives each share the gradient of the whole."""
    for value, gradient in on_two_ranks(tmp_path, _square_of_sum):
        assert value == 9.0 and gradient / 2 == 6.0


def _square_of_shared_sum() -> torch.Tensor:
    share = torch.tensor([1.0, 2.0])[dist.get_rank()].requires_grad_()
    # Each rank makes a loss of its own, with another factor, from the same sum.
    loss = (dist.get_rank() + 1) * shared_sum(share).square()
    return torch.autograd.grad(loss, share)[0]


@pytest.mark.distributed
def test_shared_sum_of_two_ranks(tmp_path: Path) -> None:
    """Each share gets the gradient of the sum of both losses, 1 * 3^2 + 2 * 3^2."""
    assert [float(gradient) for gradient in on_two_ranks(tmp_path, _square_of_shared_sum)] == [18.0, 18.0]


def _data() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    student, teacher = torch.randn(2, 5, 4, 6, generator=generator, dtype=torch.float64)
    # Rank 1 gets images 2 to 4; image 3 has weight 0.
    return student, teacher, torch.tensor([0.1, 2.0, 0.5, 0.0, 1.0], dtype=torch.float64)


def _losses(student: torch.Tensor, teacher: torch.Tensor, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    unsure = teacher - 8.0  # the floor of the normaliser holds on each rank alone, not over both
    return {
        'localization': localization_loss(student, teacher, weight, 5.0),
        'softmax': softmax_kl_loss([student], [teacher], 2.0),
        'sigmoid': quality_focal_kd_loss([student], [teacher]),
        'sigmoid_floor': quality_focal_kd_loss([student], [unsure]),
        'sigmoid_near_floor': quality_focal_kd_loss([student], [teacher - 3.0]),
        'images': mean_over_images(mean_per_image((student - teacher).square())),
        'tiny_weights': localization_loss(student, teacher, weight * 1e-7, 5.0),
    }


def _gradients_of_a_share(images: list[slice]) -> dict[str, torch.Tensor]:
    student, teacher, weight = (x[images[dist.get_rank()]] for x in _data())
    student.requires_grad_()
    losses = _losses(student, teacher, weight)
    return {name: torch.autograd.grad(loss, student)[0] for name, loss in losses.items()}


@pytest.mark.distributed
@pytest.mark.parametrize('images', [[slice(0, 2), slice(2, 5)], [slice(0, 0), slice(0, 5)]], ids=['2+3', '0+5'])
def test_two_ranks_equal_one_process(tmp_path: Path, images: list[slice]) -> None:
    ranks = on_two_ranks(tmp_path, _gradients_of_a_share, images)
    student, teacher, weight = _data()
    student.requires_grad_()
    for name, loss in _losses(student, teacher, weight).items():
        (whole,) = torch.autograd.grad(loss, student)
        # DDP averages the gradients of the parameters over ranks, so each sample's share is halved.
        split = torch.cat([rank[name] for rank in ranks]) / 2
        torch.testing.assert_close(split, whole, msg=lambda text, name=name: f'{name}: {text}')
