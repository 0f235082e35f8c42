"""Training state: several optimizers, settings of the groups, and files that do not fit."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from kd_plugins.errors import CheckpointError
from kd_plugins.hooks.training_state import restore_training_state
from tests.versioned import Versioned


def trained() -> tuple[Any, nn.Module]:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    wrappers = OptimWrapperDict(
        first=OptimWrapper(torch.optim.AdamW(model[0].parameters(), lr=0.1)),
        second=OptimWrapper(torch.optim.SGD(model[1].parameters(), lr=0.1, momentum=0.9)),
    )
    runner = SimpleNamespace(model=model, hooks=[], optim_wrapper=wrappers)
    step(runner)
    return runner, model


def step(runner: Any) -> None:
    runner.model(torch.ones(1, 2)).sum().backward()
    for wrapper in runner.optim_wrapper.values():
        wrapper.step()
        wrapper.zero_grad()


def test_several_optimizers_get_their_moments_and_keep_their_settings() -> None:
    runner, model = trained()
    saved = copy.deepcopy({'state_dict': model.state_dict(), 'optimizer': runner.optim_wrapper.state_dict()})
    step(runner)
    after = copy.deepcopy(model.state_dict())
    for wrapper in runner.optim_wrapper.values():
        wrapper.param_groups[0]['lr'] *= 0.5
        wrapper.param_groups[0]['weight_decay'] = 0.3
    restore_training_state(runner, saved, 'file')
    for name, wrapper in runner.optim_wrapper.items():
        assert wrapper.param_groups[0]['lr'] == 0.05 and wrapper.param_groups[0]['weight_decay'] == 0.3
        for index, entry in saved['optimizer'][name]['state'].items():
            for key, value in wrapper.state_dict()['state'][index].items():
                assert torch.equal(torch.as_tensor(value), torch.as_tensor(entry[key]))
        wrapper.param_groups[0].update(lr=0.1, weight_decay=0.01 if name == 'first' else 0.0)
    step(runner)  # with the old settings again, the same step gives the same weights
    for name, value in model.state_dict().items():
        assert torch.equal(value, after[name]), name


def test_versions_of_modules_are_read() -> None:
    model = nn.Sequential(Versioned())
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    runner = SimpleNamespace(model=model, hooks=[], optim_wrapper=wrapper)
    saved = copy.deepcopy({'state_dict': model.state_dict(), 'optimizer': wrapper.state_dict()})
    restore_training_state(runner, saved, 'file')
    assert torch.equal(model[0].weight, saved['state_dict']['0.weight'])


def test_files_that_do_not_fit_are_refused_in_a_sentence() -> None:
    runner, model = trained()
    state: dict[str, Any] = {'state_dict': model.state_dict()}
    with pytest.raises(CheckpointError, match=r'^file holds no optimizer'):
        restore_training_state(runner, state, 'file')
    state = {'state_dict': {'other': torch.ones(1)}, 'optimizer': runner.optim_wrapper.state_dict()}
    with pytest.raises(CheckpointError, match=r'^file holds the weights of another model: .*"0\.weight"'):
        restore_training_state(runner, state, 'file')
