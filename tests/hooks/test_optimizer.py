"""The param group of the distillers: trained with the first group, kept apart in checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner import Runner
from torch import nn

from kd_plugins.errors import ConfigError
from kd_plugins.hooks.optimizer import PER_GROUP, OptimizerGroup
from kd_plugins.runner.steps import drive
from tests.hooks.tiny_runs import make_runner


def in_training(work_dir: Path, body: Callable[[Runner], None], **settings: Any) -> None:
    """Call ``body`` in place of the training loop, when the runner has its optimizer and its schedulers."""
    runner = make_runner(work_dir, [], **settings)
    drive(runner, partial(body, runner))


def update(runner: Runner, params: list[nn.Parameter]) -> None:
    loss = torch.stack([param.square().sum() for param in (*runner.model.parameters(), *params)]).sum()
    runner.optim_wrapper.update_params(loss)


def test_it_follows_the_rate_of_the_first_group(tmp_path: Path) -> None:
    def body(runner: Runner) -> None:
        params = [nn.Parameter(torch.ones(3))]
        group = OptimizerGroup(runner, params)
        rates = []
        for _ in range(4):
            update(runner, params)
            for scheduler in runner.param_schedulers:
                scheduler.step()
            first, mine = (entry['lr'] for entry in runner.optim_wrapper.optimizer.param_groups)
            assert first == mine
            rates.append(first)
        assert len(set(rates)) > 1 and group.group['params'] == params
        assert (params[0] < 1).all()
        ran.append(True)

    ran: list[bool] = []
    in_training(tmp_path / 'run', body)
    assert ran


def test_removing_leaves_the_plain_optimizer(tmp_path: Path) -> None:
    def body(runner: Runner) -> None:
        optimizer = runner.optim_wrapper.optimizer
        before = copy.deepcopy([scheduler.state_dict() for scheduler in runner.param_schedulers])
        params = [nn.Parameter(torch.ones(3))]
        group = OptimizerGroup(runner, params)
        lengths = {len(scheduler.base_values) for scheduler in runner.param_schedulers}
        assert lengths == {2}
        update(runner, params)
        assert params[0] in optimizer.state
        group.remove()
        assert len(optimizer.param_groups) == 1 and params[0] not in optimizer.state
        assert [scheduler.state_dict() for scheduler in runner.param_schedulers] == before
        ran.append(True)

    ran: list[bool] = []
    in_training(tmp_path / 'run', body)
    assert ran


def test_a_checkpoint_holds_the_group_apart(tmp_path: Path) -> None:
    def body(runner: Runner) -> None:
        optimizer = runner.optim_wrapper.optimizer
        params = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))]
        group = OptimizerGroup(runner, params)
        update(runner, params)
        checkpoint = {
            'optimizer': runner.optim_wrapper.state_dict(),
            'param_schedulers': [scheduler.state_dict() for scheduler in runner.param_schedulers],
        }
        whole = copy.deepcopy(checkpoint)
        state = group.split_from(checkpoint)
        assert len(checkpoint['optimizer']['param_groups']) == 1
        assert len(checkpoint['optimizer']['state']) == len(list(runner.model.parameters()))
        for trimmed, full in zip(checkpoint['param_schedulers'], whole['param_schedulers']):
            for name in PER_GROUP:
                if isinstance(full.get(name), list):
                    assert trimmed[name] == full[name][:-1]
        assert sorted(state) == ['0', '1']
        expected = [optimizer.state[param]['momentum_buffer'].clone() for param in params]
        for param in params:
            optimizer.state.pop(param)
        group.load(state)
        for param, momentum in zip(params, expected):
            assert torch.equal(optimizer.state[param]['momentum_buffer'], momentum)
        ran.append(True)

    ran: list[bool] = []
    in_training(tmp_path / 'run', body)
    assert ran


def test_several_optimizers_are_refused(tmp_path: Path) -> None:
    def body(runner: Runner) -> None:
        with pytest.raises(ConfigError, match='found several optimizers'):
            OptimizerGroup(runner, [nn.Parameter(torch.ones(3))])
        ran.append(True)

    from mmengine.optim import OptimWrapper, OptimWrapperDict

    from tests.hooks.tiny_runs import TinyStudent

    ran: list[bool] = []
    model = TinyStudent()
    wrappers = {
        name: OptimWrapper(torch.optim.SGD(getattr(model, name).parameters(), lr=0.1)) for name in ('first', 'second')
    }
    in_training(tmp_path / 'run', body, model=model, optim_wrapper=OptimWrapperDict(**wrappers), param_scheduler=None)
    assert ran
