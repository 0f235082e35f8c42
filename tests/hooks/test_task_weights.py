"""Factors of the task losses: by key, by schedule, in a run, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from kd_plugins.errors import ConfigError
from kd_plugins.hooks import DistillHook, EpochSeedHook
from kd_plugins.hooks.task_weights import TaskWeights
from tests.hooks.tiny_runs import EMA, GAP, losses_of

DECAY = {'type': 'kd_plugins.LinearDecay', 'value': 1.0, 'end_value': 0.2}


def test_the_longest_pattern_counts() -> None:
    weights = TaskWeights({'*': 0.5, 'decode.*': 0.25, 'decode.loss_ce': 0.0})
    assert [weights(key) for key in ('decode.loss_ce', 'decode.loss_dice', 'aux.loss_ce')] == [0.0, 0.25, 0.5]
    assert TaskWeights({'decode.*': 0.25})('aux.loss_ce') == 1.0
    assert TaskWeights(0.3)('loss') == 0.3


def test_schedules_follow_the_run() -> None:
    weights = TaskWeights({'loss_cls': DECAY, 'loss_bbox': {**DECAY, 'end': 2, 'by_epoch': True}, '*': 0.5})
    found = []
    for iteration in (0, 4, 8):
        # Epochs of 4 iterations; after a resume the position in epochs may differ from the iteration.
        weights.update(iteration, 8, 4, position=iteration // 2)
        found.append([weights('loss_cls'), weights('loss_bbox')])
    torch.testing.assert_close(torch.tensor(found), torch.tensor([[1.0, 1.0], [0.6, 0.8], [0.2, 0.6]]))
    assert set(weights.monitors()) == {'loss_cls', 'loss_bbox'} and not TaskWeights(0.5).monitors()
    assert set(TaskWeights(DECAY).monitors()) == {'all'}


def test_always_zero() -> None:
    assert [TaskWeights(one).always_zero for one in (0.0, {'*': 0}, {'loss_cls': 0.0}, 0.5, DECAY)] == [
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ('config', 'words'),
    [
        (-1.0, r'default_hooks\.distill\.task_weight is -1\.0'),
        (True, r'default_hooks\.distill\.task_weight is True'),
        ('half', r"default_hooks\.distill\.task_weight is 'half'; give a number or dict\(type="),
        ({}, r'default_hooks\.distill\.task_weight is {}; give a number'),
        ({1: 0.5}, r'task_weight: the loss key 1 is not a name'),
        ({'loss_cls': -0.5}, r'default_hooks\.distill\.task_weight\.loss_cls is -0\.5'),
        ({'loss_cls': {'type': 'kd_plugins.LinearDcay', 'value': 1}}, r'task_weight\.loss_cls.*LinearDecay'),
        (
            {'loss_cls': {'type': 'kd_plugins.GradientShare', 'value': 1.0}},
            r'task_weight\.loss_cls is a GradientShare, which is the weight of one distiller; use LinearDecay',
        ),
    ],
)
def test_refused(config: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TaskWeights(config)


def test_a_pattern_without_a_loss_is_refused() -> None:
    weights = TaskWeights({'loss_csl': 0.5, '*': 1.0})
    with pytest.raises(ConfigError, match=r"task_weight: 'loss_csl' matches no loss of the model; nearest: 'loss_cls'"):
        weights.check_keys(['loss_cls', 'loss_bbox', 'acc'])
    TaskWeights({'loss_*': 0.5}).check_keys(['loss_cls'])


def test_a_mixed_target_is_the_sum_of_two_losses() -> None:
    """Golden identity of PS-KD: the cross-entropy with a mixed target, by factors on two losses."""
    generator = torch.Generator().manual_seed(0)
    logits, teacher = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    labels, share = torch.arange(6) % 4, 0.3
    target = (1 - share) * F.one_hot(labels, 4) + share * teacher.softmax(1)
    mixed = F.cross_entropy(logits, target)
    entropy = -(teacher.softmax(1) * teacher.log_softmax(1)).sum(1).mean()
    divergence = F.kl_div(logits.log_softmax(1), teacher.softmax(1), reduction='batchmean')
    parts = TaskWeights(1 - share)('loss_ce') * F.cross_entropy(logits, labels) + share * (divergence + entropy)
    torch.testing.assert_close(parts, mixed)


def test_a_run_with_factors(tmp_path: Path) -> None:
    plain = losses_of(tmp_path / 'plain', [DistillHook({'gap': GAP}, EMA)])
    half = losses_of(tmp_path / 'half', [DistillHook({'gap': GAP}, EMA, task_weight={'loss_*': 0.5})])
    assert half[0]['loss_task'] == pytest.approx(plain[0]['loss_task'] / 2)
    decay = {'type': 'kd_plugins.Stop', 'value': 1.0, 'end': 3}
    hook = DistillHook({'gap': GAP}, EMA, task_weight={'loss_task': decay})
    stopped = losses_of(tmp_path / 'stopped', [hook])
    # Three steps as in the plain run; afterwards the loss is logged under another key and trains nothing.
    assert stopped[:3] == plain[:3]
    assert all('loss_task' not in one and one['task.task'] > 0 and one['task.loss'] == 0 for one in stopped[3:])


def test_a_resumed_run_goes_on_with_its_factors(tmp_path: Path) -> None:
    def hooks() -> list[Any]:
        return [DistillHook({'gap': GAP}, EMA, task_weight={'*': DECAY}), EpochSeedHook()]

    whole = losses_of(tmp_path / 'whole', hooks())
    losses_of(tmp_path / 'parts', hooks(), stop_at=6)
    assert losses_of(tmp_path / 'parts', hooks(), resume=True) == whole[4:]


def test_a_run_with_a_misspelt_key_stops_at_its_first_step(tmp_path: Path) -> None:
    hook = DistillHook({'gap': GAP}, EMA, task_weight={'loss_tsak': 0.5})
    with pytest.raises(ConfigError, match=r"'loss_tsak' matches no loss of the model; nearest: 'loss_task'"):
        losses_of(tmp_path / 'run', [hook])
