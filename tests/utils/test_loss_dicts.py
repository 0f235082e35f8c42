"""Sums of loss dicts."""

from __future__ import annotations

import torch

from kd_plugins.utils.loss_dicts import loss_sum, tensors_of
from tests.hooks.tiny_runs import TinyStudent


def test_the_sum_is_that_of_mmengine() -> None:
    losses = {
        'loss_cls': [torch.tensor([1.0, 3.0]), torch.tensor(0.5)],
        'loss_box': torch.tensor([2.0, 4.0], requires_grad=True),
        'acc': torch.tensor(90.0),
    }
    expected, _ = TinyStudent().parse_losses(losses)
    assert loss_sum(losses) == expected == 5.5 and loss_sum(losses).requires_grad
    assert loss_sum({'acc': torch.tensor(1.0)}) == 0


def test_tensors_of_an_entry() -> None:
    one = torch.zeros(())
    assert tensors_of([one, 3]) == [one] and tensors_of(one) == [one] and tensors_of(2.0) == []
