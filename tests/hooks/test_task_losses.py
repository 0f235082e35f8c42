"""Task losses beside distillation: their sum, their weight and their keys."""

from __future__ import annotations

import pytest
import torch

from kd_plugins.hooks.task_losses import logged_key, scale_task, task_loss
from tests.hooks.tiny_runs import TinyStudent


def test_task_loss_is_the_sum_of_mmengine() -> None:
    losses = {
        'loss_cls': [torch.tensor([1.0, 3.0]), torch.tensor(0.5)],
        'loss_box': torch.tensor([2.0, 4.0], requires_grad=True),
        'acc': torch.tensor(90.0),
    }
    expected, _ = TinyStudent().parse_losses(losses)
    assert task_loss(losses) == expected == 5.5 and not task_loss(losses).requires_grad
    assert task_loss({'acc': torch.tensor(1.0)}) == 0


def test_task_weights() -> None:
    losses = {'loss_cls': [torch.tensor(1.0), torch.tensor(3.0)], 'loss': torch.tensor(2.0), 'acc': torch.tensor(9.0)}
    assert scale_task(losses, lambda key: 1.0) is losses
    half = scale_task(losses, lambda key: 0.5)
    assert half == {'loss_cls': [0.5, 1.5], 'loss': 1.0, 'acc': 9.0}
    mixed = scale_task(losses, {'loss_cls': 0.5, 'loss': 0.0}.__getitem__)
    assert mixed == {'loss_cls': [0.5, 1.5], 'task.all': 2.0, 'acc': 9.0, 'task.loss': 0.0}
    assert scale_task(losses, lambda key: 0.0) == {'task.cls': 4.0, 'task.all': 2.0, 'acc': 9.0, 'task.loss': 0.0}


def test_task_losses_with_weight_0_keep_their_graph() -> None:
    value = torch.ones((), requires_grad=True)
    scaled = scale_task({'loss_cls': [value * 3, value]}, lambda key: 0.0)
    assert not scaled['task.cls'].requires_grad
    scaled['task.loss'].backward()
    assert value.grad == 0


@pytest.mark.parametrize(
    'key', ['loss', 'loss_cls', 'cls_loss', 'd0.loss_cls', 'loss_a_loss', 'loss_loss', 'decode.loss_ce']
)
def test_a_logged_key_is_never_added(key: str) -> None:
    assert 'loss' not in logged_key(key) and logged_key(key).startswith('task.') and len(logged_key(key)) > 5
