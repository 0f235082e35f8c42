"""Sums of loss dicts."""

from __future__ import annotations

import torch

from kd_plugins.utils.loss_dicts import loss_sum, tensors_of
from tests.hooks.tiny_runs import TinyStudent


def test_the_sum_is_that_of_mmengine() -> None:
    scores = torch.tensor([[1.0, 3.0], [2.0, 6.0]], requires_grad=True)
    losses = {'d0.loss_cls': [scores, scores.sum()], 'loss': scores[0].half(), 'num': torch.tensor(7.0)}
    expected, _ = TinyStudent().parse_losses(losses)
    assert loss_sum(losses) == expected == 17.0 and loss_sum(losses).requires_grad
    assert loss_sum({}) == 0


def test_tensors_of_an_entry() -> None:
    one = torch.zeros(())
    assert tensors_of([one, 3]) == [one] and tensors_of(one) == [one] and tensors_of(2.0) == []
