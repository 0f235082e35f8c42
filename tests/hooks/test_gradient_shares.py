"""Shares of gradients: their values, two ranks, and what cannot be measured."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kd_plugins.distillers import FeatureDistiller, ParameterAnchor
from kd_plugins.distillers.collection import Term
from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.hooks import gradient_shares as module
from kd_plugins.hooks.gradient_shares import GradientShares, check_copies, check_shares, squared_norm
from kd_plugins.hooks.task_weights import TaskWeights
from kd_plugins.schedules import GradientShare
from tests.ranks import on_two_ranks

SHARE = {'type': 'kd_plugins.GradientShare', 'value': 5.0, 'interval': 1, 'average': 100}


def distiller(**settings: Any) -> FeatureDistiller:
    return FeatureDistiller('layer', weight=SHARE, key='distillers.a', **settings)


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 3, generator=generator), torch.randn(4, 3, generator=generator)


def measured(start: int = 0, stop: int = 4) -> float:
    """Return the share of a mean squared difference with weight 5 beside a mean as task."""
    inputs, targets = (tensor[start:stop] for tensor in batch())
    tapped = inputs.requires_grad_() * 1.0
    shares = GradientShares({'a': distiller()})
    term = Term('a', 'loss_feat', (tapped - targets).square().mean(), 5.0)
    other = Term('b', 'loss_feat', tapped.sum() * 100, 1.0)
    shares.measure(tapped.exp().mean(), [term, other], {'a': [tapped]})
    assert shares.schedules['a'].last is not None
    return shares.schedules['a'].last


def test_the_share_is_that_of_the_norms() -> None:
    inputs, targets = batch()
    mine, task = 5 * 2 * (inputs - targets) / 12, inputs.exp() / 12
    expected = mine.norm() / (mine.norm() + task.norm())
    assert measured() == pytest.approx(expected.item(), rel=1e-5)


def measured_on_rank() -> float:
    """Return the share that a rank with half of the batch measures."""
    rank = torch.distributed.get_rank()
    return measured(2 * rank, 2 * rank + 2)


def test_two_ranks_measure_what_one_process_measures(tmp_path: Path) -> None:
    assert on_two_ranks(tmp_path, measured_on_rank) == [pytest.approx(measured(), rel=1e-6)] * 2


def test_norms() -> None:
    x, y = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    assert squared_norm(x.sum(), [x, y, torch.ones(1)]) == 2 * 1024**2
    assert squared_norm(torch.ones(()), [x]) == 0 and squared_norm(x.sum(), [torch.ones(2)]) == 0
    assert x.grad is None
    half = x.half()
    assert squared_norm((half.float() * 1e-8).sum(), [half]) > 0, 'it does not vanish in half precision'


def test_nothing_is_observed_without_two_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(module, 'print_log', lambda text, logger, level: logged.append(text))
    shares = GradientShares({'a': distiller()})
    x = torch.ones(2, requires_grad=True) * 1.0
    shares.measure(torch.ones(()), [Term('a', 'loss_feat', x.sum(), 1.0)], {'a': [x]})
    shares.measure(x.sum(), [Term('a', 'loss_feat', x.sum() * 0, 1.0)], {'a': [x]})
    shares.measure(x.sum(), [Term('a', 'loss_feat', x.sum() * float('inf'), 1.0)], {'a': [x]})
    assert shares.state_dict() == {'a': {'weight': 5.0, 'shares': []}}
    (sentence,) = logged
    assert sentence.startswith('distillers.a.weight: the share of the gradient at the taps is 1, and it is left out')


def test_checkpointed_layers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # The name that versions of torch before 2.5 lack.
    monkeypatch.delattr(torch, 'OutOfMemoryError', raising=False)
    shares = GradientShares({'a': distiller()})
    x = torch.ones(1, 2, requires_grad=True) * 1.0
    task = checkpoint(nn.Linear(2, 1), x, use_reentrant=True).sum()
    message = r'distillers\.a\.weight: the gradient at the taps cannot be measured .* use a number as weight'
    with pytest.raises(ConfigError, match=message):
        shares.measure(task, [Term('a', 'loss_feat', x.sum(), 1.0)], {'a': [x]})


def test_due() -> None:
    one = distiller()
    one.schedule = GradientShare(1.0, begin=3, hold=1, interval=3)
    shares = GradientShares({'a': one, 'plain': FeatureDistiller('layer')})
    assert [step for step in range(12) if shares.due(step, ['a', 'plain'])] == [4, 7, 10]
    assert shares.due(4, ['plain']) == [] and list(shares.schedules) == ['a']


def test_state() -> None:
    shares = GradientShares({'a': distiller()})
    shares.load_state_dict({'a': {'weight': 2.0, 'shares': [0.5]}, 'gone': {}})
    assert shares.state_dict() == {'a': {'weight': 2.0, 'shares': [0.5]}}
    shares.load_state_dict({})
    assert shares.state_dict() == {'a': {'weight': 5.0, 'shares': []}}
    with pytest.raises(CheckpointError, match=r'distillers\.a\.weight: the state of GradientShare .* is damaged'):
        shares.load_state_dict({'a': {'weight': 'x'}})


def test_what_would_measure_nothing() -> None:
    check_shares({'a': distiller()}, None, TaskWeights(1.0))
    with pytest.raises(ConfigError, match=r'distillers\.a\.weight is a GradientShare, and task_weight is 0'):
        check_shares({'a': distiller()}, None, TaskWeights(0.0))
    unlabelled = distiller()
    unlabelled.on = 'unlabelled'
    with pytest.raises(ConfigError, match=r"unlabelled images have no task loss; use on='labelled'"):
        check_shares({'a': unlabelled}, None, TaskWeights(1.0))
    stream: Any = SimpleNamespace(schedule=GradientShare(1.0))
    with pytest.raises(ConfigError, match=r'unlabelled\.weight is a GradientShare, which is the weight of one'):
        check_shares({}, stream, TaskWeights(1.0))


def test_a_copy_is_refused() -> None:
    check_copies({'a': distiller(), 'b': FeatureDistiller('layer:copy')})
    copied = FeatureDistiller('layer:copy', weight=SHARE, key='distillers.a')
    with pytest.raises(ConfigError, match=r"distillers\.a\.weight is a GradientShare, and 'layer:copy' records a copy"):
        check_copies({'a': copied})


def test_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="'param:a' names parameters, whose gradients of different ranks"):
        check_copies({'a': ParameterAnchor('param:a', weight=SHARE)})
