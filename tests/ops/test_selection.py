from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from kd_plugins.ops.selection import largest
from tests.ranks import on_two_ranks


def by_sorting(values: Tensor, valid: Tensor, ratio: float) -> Tensor:
    count = math.ceil(round(ratio * int(valid.sum()), 6))
    if not count:
        return torch.zeros_like(valid)
    return valid & (values >= values[valid].sort(descending=True).values[count - 1])


@pytest.mark.parametrize('ratio', [1e-4, 0.01, 0.25, 0.5, 1.0])
@pytest.mark.parametrize('scale', [1.0, 1e-3, 1e-30])
def test_is_sorting(scale: float, ratio: float) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(3, 700, generator=generator) * scale
    valid = torch.rand(3, 700, generator=generator) < 0.8
    selected = largest(values, valid, ratio)
    assert torch.equal(selected, by_sorting(values, valid, ratio))
    assert selected.sum() == math.ceil(ratio * int(valid.sum()))


def test_values_that_differ_in_the_last_bit() -> None:
    low = torch.tensor(0.7)
    values = torch.stack([low, torch.nextafter(low, torch.tensor(1.0))]).repeat(3)
    assert largest(values, torch.ones(6, dtype=torch.bool), 0.5).tolist() == [False, True] * 3


def test_equal_values_are_selected_together() -> None:
    values = torch.tensor([0.2, 0.9, 0.5, 0.5, 0.5, 0.1])
    assert largest(values, torch.ones(6, dtype=torch.bool), 0.5).tolist() == [False, True, True, True, True, False]
    assert largest(torch.full((4,), 1.0), torch.ones(4, dtype=torch.bool), 0.1).all()
    assert largest(torch.zeros(4), torch.ones(4, dtype=torch.bool), 0.1).all()


def test_a_product_that_is_almost_an_integer() -> None:
    values = torch.arange(1700.0)
    assert largest(values, torch.ones(1700, dtype=torch.bool), 0.01).sum() == 17


@pytest.mark.parametrize('shape', [(0,), (2, 0), (3, 4)], ids=str)
def test_no_valid_value(shape: tuple[int, ...]) -> None:
    selected = largest(torch.rand(shape), torch.zeros(shape, dtype=torch.bool), 0.5)
    assert selected.shape == shape and not selected.any()


def test_signs_of_zero_and_of_nan() -> None:
    assert largest(torch.tensor([-0.0, 0.5, 0.2]), torch.ones(3) > 0, 0.3).tolist() == [False, True, False]
    # A teacher that has diverged is a fault that its loss reports, and no index out of bounds.
    values = torch.tensor([-math.nan, math.nan, 0.5])
    assert (values.view(torch.int32) < 0).any(), 'one of them has a sign'
    assert largest(values, torch.ones(3) > 0, 0.5).tolist() == [True, True, False]


def test_dtypes() -> None:
    values, valid = torch.rand(100), torch.ones(100, dtype=torch.bool)
    assert torch.equal(largest(values.double(), valid, 0.1), largest(values, valid, 0.1))
    assert largest(values.bfloat16().requires_grad_(), valid, 0.1).dtype == torch.bool


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_cuda_without_host_sync() -> None:
    values, valid = torch.rand(1000), torch.rand(1000) < 0.8
    expected = largest(values, valid, 0.05)
    values, valid = values.cuda(), valid.cuda()
    torch.cuda.set_sync_debug_mode('error')
    try:
        selected = largest(values, valid, 0.05)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert torch.equal(selected.cpu(), expected)


def _data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    values = torch.rand(5, 200, generator=generator)
    values[1] *= 0.1
    values[:, :20] = 0.5
    return values, torch.rand(5, 200, generator=generator) < 0.7


def _share(images: list[slice], ratio: float) -> Tensor:
    values, valid = (x[images[dist.get_rank()]] for x in _data())
    return largest(values, valid, ratio)


@pytest.mark.distributed
@pytest.mark.parametrize('images', [[slice(0, 2), slice(2, 5)], [slice(0, 0), slice(0, 5)]], ids=['2+3', '0+5'])
def test_two_ranks_select_as_one(tmp_path: Path, images: list[slice]) -> None:
    for number, ratio in enumerate((0.02, 0.6)):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert torch.equal(torch.cat(on_two_ranks(folder, _share, images, ratio)), largest(*_data(), ratio))
