"""Parts of the student that keep their values at the start of a run."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from torch import Tensor

from kd_plugins.hooks import DistillHook, EpochSeedHook
from kd_plugins.hooks.freeze import Freeze
from tests.distillers.common import sentence
from tests.hooks.tiny_runs import EMA, GAP, CpuAmpOptimWrapper, losses_of, make_runner

HALF: dict[str, Any] = dict(parts=['first'], until=0.5)


class Weights(Hook):
    """Keep the weights of the first layer and of the second after every iteration."""

    def __init__(self) -> None:
        self.seen: list[tuple[Tensor, Tensor]] = []

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        self.seen.append((runner.model.first.weight.clone().detach(), runner.model.second.weight.clone().detach()))


def hook(freeze: Any = None) -> DistillHook:
    return DistillHook({'gap': GAP}, EMA, freeze=freeze)


@pytest.mark.parametrize('amp', [False, True])
def test_a_part_keeps_its_values_until_then(tmp_path: Path, amp: bool) -> None:
    weights = Weights()
    optimizer = dict(type='AdamW', lr=0.05, weight_decay=0.1)
    wrapper = dict(type=CpuAmpOptimWrapper.__name__) if amp else {}
    runner = make_runner(tmp_path / 'run', [hook(HALF), weights], optim_wrapper=dict(optimizer=optimizer, **wrapper))
    before = runner.model.first.weight.clone(), runner.model.second.weight.clone()
    runner.train()
    assert len(weights.seen) == 8
    # Neither weight decay nor momentum moves them.
    assert all(torch.equal(first, before[0]) for first, _ in weights.seen[:4])
    steps = [before, *weights.seen]
    assert all(not torch.equal(one[0], other[0]) for one, other in itertools.pairwise(steps[4:]))
    assert all(not torch.equal(one[1], other[1]) for one, other in itertools.pairwise(steps))
    assert not runner.optim_wrapper.optimizer._optimizer_step_pre_hooks


def test_a_resumed_run_goes_on(tmp_path: Path) -> None:
    late = dict(parts=['first'], until=0.75)
    whole = losses_of(tmp_path / 'whole', [EpochSeedHook(), hook(late)])
    losses_of(tmp_path / 'cut', [EpochSeedHook(), hook(late)], stop_at=5)
    assert losses_of(tmp_path / 'cut', [EpochSeedHook(), hook(late)], resume=True) == whole[4:]
    assert losses_of(tmp_path / 'plain', [EpochSeedHook(), hook()])[4:] != whole[4:]


def test_sentences(tmp_path: Path) -> None:
    key = 'default_hooks.distill.freeze'
    for settings, words in (
        (['backbone'], rf"{key} is \['backbone'\]; give a dict, for example"),
        (dict(parts=['first']), f"{key} needs 'until'; give for example"),
        (dict(until=0.5), f"{key} needs 'parts'"),
        (dict(parts='first', until=0.5), f"{key}.parts is 'first'; give a list"),
        (dict(parts=['first'], until=1.0), f'{key}.until is 1.0; it is the share of a run and below 1'),
        (dict(parts=['first'], until=0), f'{key}.until is 0; it must be a finite number > 0'),
        (dict(parts=['first'], til=0.5), f"{key}: Freeze has no argument 'til'; nearest: 'until'"),
    ):
        with sentence(words):
            Freeze.of(settings)
    assert Freeze.of(None) is None
    with sentence(f"{key}.parts: 'frist' names no module of the student; nearest: 'first'"):
        make_runner(tmp_path / 'misspelt', [hook(dict(parts=['frist'], until=0.5))]).train()
    with sentence(f"{key}.parts: 'dropout' has no parameter that is trained; leave it out"):
        make_runner(tmp_path / 'empty', [hook(dict(parts=['dropout'], until=0.5))]).train()
