"""Networks that run on a copy of their state and have their own back afterwards."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.utils.scratch_state import scratch_state


class Restless(nn.Module):
    """A module that changes everything about itself in a forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.momentum_encoder = nn.Linear(2, 2).requires_grad_(False)
        self.tied = self.momentum_encoder.weight
        self.history: list[float] = []
        self.calls = 0
        self.assigner = SimpleNamespace(threshold=0.5, owner=self)
        self.shared = self.assigner
        self.hidden = [self.norm]
        self.lock = threading.Lock()

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        with torch.no_grad():
            self.momentum_encoder.weight.mul_(0.5)
        self.history.append(1.0)
        self.calls += 1
        self.assigner.threshold += 0.1
        self.new = x
        self.register_buffer('late', torch.ones(1))
        assert self.shared is self.assigner and self.assigner.owner is self and self.hidden[0] is self.norm
        assert self.tied is self.momentum_encoder.weight and not self.tied.requires_grad
        return x


def state_of(model: Restless) -> dict[str, Any]:
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    return {**tensors, 'rest': (list(model.history), model.calls, model.assigner.threshold, set(vars(model)))}


@pytest.mark.parametrize('fails', [False, True])
def test_nothing_remains_of_a_forward_pass(fails: bool) -> None:
    model = Restless().eval()
    tensors = [*model.parameters(), *model.buffers()]
    before = state_of(model)
    try:
        with scratch_state(model):
            model.train()
            model(torch.randn(3, 2))
            assert model.calls == 1 and model.norm.num_batches_tracked == 1
            if fails:
                raise KeyError('in the pass')
    except KeyError:
        assert fails
    after = state_of(model)
    assert before.pop('rest') == after.pop('rest') and not model.norm.training
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(a is b for a, b in zip([*model.parameters(), *model.buffers()], tensors)), 'the same objects'


def test_hooks_and_bound_functions_work_on_the_copy() -> None:
    """Activation checkpointing sets a forward that is bound to the module, so that a copy would run the original."""
    norm = nn.BatchNorm1d(2)
    norm.forward = norm.forward  # type: ignore[method-assign]
    seen: list[Any] = []
    norm.register_forward_hook(lambda module, args, output: seen.append(module))
    with scratch_state(norm):
        norm(torch.randn(3, 2))
        assert norm.num_batches_tracked == 1
        norm.register_forward_hook(lambda *call: None)
    assert norm.num_batches_tracked == 0 and seen == [norm] and len(norm._forward_hooks) == 2
