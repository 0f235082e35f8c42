from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.losses import channel_wise_kl, feature_loss
from kd_plugins.ops.channel_statistics import channel_rows, normalize_channels, position_weights
from tests.losses.golden import cosines, sines
from tests.ranks import on_two_ranks


def test_rows() -> None:
    assert channel_rows(torch.zeros(2, 3)).shape == (2, 3, 1)
    assert channel_rows(torch.zeros(2, 5, 3), dim=-1).shape == (2, 3, 5)
    rows = channel_rows(torch.zeros(2, 3, 4, 5, dtype=torch.bfloat16))
    assert rows.shape == (2, 3, 20) and rows.dtype == torch.float32
    valid = torch.arange(40).view(2, 20) % 3 == 0
    assert position_weights(rows, None).shape == position_weights(rows, valid).shape == (2, 1, 20)
    assert position_weights(rows, valid).sum() == valid.sum()


@pytest.mark.parametrize('shape', [(5, 3), (4, 3, 6), (2, 3, 4, 5), (2, 3, 2, 3, 4)], ids=str)
@pytest.mark.parametrize('masked', [False, True])
def test_is_batch_normalization(shape: tuple[int, ...], masked: bool) -> None:
    x = (3.0 * torch.randn(shape, dtype=torch.float64) + 2.0).requires_grad_()
    weight = torch.randn(shape, dtype=torch.float64)
    every = torch.ones(channel_rows(x)[:, 0].shape, dtype=torch.bool) if masked else None
    (actual,) = normalize_channels([x], [every])
    expected = F.batch_norm(x, None, None, training=True)
    torch.testing.assert_close(actual, expected)
    gradients = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (actual, expected)]
    torch.testing.assert_close(*gradients)


def test_gradients() -> None:
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    valid = torch.tensor([[True, True, False, True, True], [True, False, True, True, False]])
    assert torch.autograd.gradcheck(lambda y: normalize_channels([y], [valid])[0], (x,))


def test_value_of_the_recipe() -> None:
    """Batch normalization and the channel-wise divergence, as in mmyolo's distillation of RTMDet, by its parts."""
    levels = normalize_channels([sines(2, 3, 4, 5), cosines(2, 3, 4, 5)], [None, None])
    value = feature_loss(levels[:1], levels[1:], channel_wise_kl)
    assert value.item() == pytest.approx(0.806710, abs=1e-6)


def test_padding_does_not_count() -> None:
    x = torch.randn(2, 3, 4, 5)
    padded = torch.full((2, 3, 6, 7), 50.0)
    padded[..., :4, :5] = x
    valid = torch.zeros(2, 6, 7, dtype=torch.bool)
    valid[:, :4, :5] = True
    (actual,) = normalize_channels([padded], [valid.flatten(1)])
    torch.testing.assert_close(actual[..., :4, :5], normalize_channels([x], [None])[0])


def test_levels_are_apart_and_channels_are_where_they_were() -> None:
    levels = [torch.randn(2, 7, 3), torch.randn(2, 4, 5)]
    together = normalize_channels(levels, [None, None], dim=-1)
    for x, y in zip(levels, together):
        torch.testing.assert_close(y, F.batch_norm(x.mT, None, None, training=True).mT)
    assert normalize_channels([], []) == []


def test_constant_and_empty() -> None:
    for x in (torch.full((2, 3, 4), 7.0), torch.zeros(0, 3, 4), torch.zeros(2, 3, 0), torch.full((1, 3), 2.0)):
        x.requires_grad_()
        (y,) = normalize_channels([x], [None])
        y.sum().backward()
        assert y.shape == x.shape and (y.numel() == 0 or y.abs().max() < 1e-3)
        assert x.grad is not None and x.grad.isfinite().all()


SPLITS = [[slice(0, 2), slice(2, 5)], [slice(0, 0), slice(0, 5)]]


def _data() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    student, weight = torch.randn(2, 5, 4, 6, generator=generator, dtype=torch.float64)
    return student + 2.0, weight, torch.rand(5, 6, generator=generator) > 0.2


def _loss(student: Tensor, weight: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    (x,) = normalize_channels([student.requires_grad_()], [valid])
    loss = (x.square() * weight).sum()
    return x.detach(), torch.autograd.grad(loss, student)[0]


def _shares() -> list[tuple[Tensor, Tensor]]:
    return [_loss(*(x[split[dist.get_rank()]] for x in _data())) for split in SPLITS]


@pytest.mark.distributed
def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    """The gradient of the sum of the losses of both ranks reaches every rank's share, through the statistics too."""
    first, second = on_two_ranks(tmp_path, _shares)
    expected = _loss(*_data())
    for one, other in zip(first, second):
        for a, b, whole in zip(one, other, expected):
            torch.testing.assert_close(torch.cat([a, b]), whole)
