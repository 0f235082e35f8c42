"""MMEngine's ``activation_checkpointing`` on native D-FINE: the same gradients, or a sentence."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip('mmdet')

from mmengine.runner import turn_on_activation_checkpointing

from kd_plugins.errors import ConfigError
from kd_plugins.models.dfine.recomputed_parts import is_recomputed
from tests.models.dfine.native.detectors import losses, small

INSIDE = ['backbone.stages.2', 'encoder.fpn_blocks.0', 'decoder.layers.0.ffn']


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    model.zero_grad()
    torch.stack(list(losses(model, [2, 1]).values())).sum().backward()
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


@pytest.mark.filterwarnings('ignore:torch.utils.checkpoint')
def test_modules_on_one_map_get_the_same_gradients() -> None:
    model = small()
    expected = gradients(model)
    turn_on_activation_checkpointing(model, INSIDE)
    assert [name for name, module in model.named_modules() if is_recomputed(module)] == INSIDE
    torch.testing.assert_close(gradients(model), expected)


@pytest.mark.filterwarnings('ignore:torch.utils.checkpoint')
@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('backbone', 'gets no tensor with a gradient'),
        ('neck', 'gets tensors inside other objects'),
        ('encoder', 'gets tensors inside other objects'),
        ('decoder', 'gets arguments by name'),
        ('decoder.layers.1', 'gets tensors inside other objects'),
    ],
)
def test_modules_that_would_not_train_are_refused(name: str, reason: str) -> None:
    model = small()
    turn_on_activation_checkpointing(model, [name])
    with pytest.raises(ConfigError, match=f"^activation_checkpointing names '{name}', which {reason}"):
        losses(model, [2, 1])
    with torch.no_grad():
        if name != 'decoder':
            losses(model, [2, 1])
    module = model.get_submodule(name)
    assert not module._forward_pre_hooks, 'the check has left a hook'
