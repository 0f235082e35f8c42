"""Two gloo ranks with half the batch each, compared with one process; resuming on two ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from mmengine.hooks import EMAHook

from tests.integration.halves import MODEL, RANDOM_TEACHER, assert_close
from tests.integration.runs import EMA, FEATURE, LD, Recorder, Squares, make_runner, weights
from tests.ranks import on_two_ranks

EPOCHS = 3


def train(work_dir: Path, batch_size: int, kill_at: int | None = None, **options: Any) -> dict[str, Any]:
    """Train; return the losses of each iteration and the final weights."""
    recorder = Recorder(kill_at)
    schedule = {'type': 'kd_plugins.LinearWarmup', 'value': 1.0, 'end': 8}
    settings: dict[str, Any] = {
        'model': MODEL,
        # Adam divides by the size of the gradient, which would enlarge rounding errors.
        'optim_wrapper': {
            'type': 'OptimWrapper',
            'optimizer': {'type': 'SGD', 'lr': 0.02, 'momentum': 0.9},
            'accumulative_counts': options.pop('accumulate', 1),
        },
        'hooks': [recorder, EMAHook(momentum=0.1)],
        'dataset': Squares(empty=True),
        'epochs': EPOCHS,
    }
    if dist.is_initialized():
        settings['launcher'] = 'pytorch'
        settings['cfg'] = {'model_wrapper_cfg': {'type': 'MMDistributedDataParallel', 'device_ids': None}}
    distillers = {'localization': {**LD, 'weight': schedule}, 'feature': FEATURE}
    teacher = options.pop('teacher', EMA)
    settings.update(options)
    runner = make_runner(work_dir, distillers, teacher, batch_size=batch_size, **settings)
    try:
        runner.train()
    except KeyboardInterrupt:
        return {}
    model = runner.model.module if dist.is_initialized() else runner.model
    return {'losses': recorder.losses, 'weights': weights(model)}


def train_both_batch_sizes(work_dir: Path) -> dict[str, Any]:
    """Train with half the batch on each of two ranks, and once more with accumulated gradients."""
    return {
        'half': train(work_dir / 'half', 2, teacher=RANDOM_TEACHER),
        'accumulated': train(work_dir / 'accumulated', 2, accumulate=2, teacher=RANDOM_TEACHER),
    }


def train_killed_and_resumed(work_dir: Path) -> dict[str, Any]:
    """Train without interruption, and with one in the second epoch."""
    whole = train(work_dir / 'whole', 2, accumulate=2)
    train(work_dir / 'cut', 2, kill_at=6, accumulate=2)
    return {'whole': whole, 'resumed': train(work_dir / 'cut', 2, accumulate=2, resume=True)}


@pytest.mark.slow
@pytest.mark.distributed
def test_two_halves_equal_the_whole(tmp_path: Path) -> None:
    whole = train(tmp_path / 'one', 4, teacher=RANDOM_TEACHER)
    whole_accumulated = train(tmp_path / 'one_accumulated', 4, accumulate=2, teacher=RANDOM_TEACHER)
    ranks = on_two_ranks(tmp_path, train_both_batch_sizes, tmp_path)
    assert all(rank[run]['losses'][0].keys() == whole['losses'][0].keys() for rank in ranks for run in rank)
    for name, expected in (('half', whole), ('accumulated', whole_accumulated)):
        for step, (first, second) in enumerate(zip(ranks[0][name]['losses'], ranks[1][name]['losses'])):
            for key in (key for key in first if key.startswith('distill')):
                mean = (first[key] + second[key]) / 2
                assert mean == pytest.approx(expected['losses'][step][key], rel=1e-3, abs=1e-6), (name, step, key)
        assert_close(ranks[0][name]['weights'], expected['weights'])
        assert all(torch.equal(v, ranks[1][name]['weights'][k]) for k, v in ranks[0][name]['weights'].items())


@pytest.mark.slow
@pytest.mark.distributed
def test_two_ranks_resume_exactly(tmp_path: Path) -> None:
    for rank in on_two_ranks(tmp_path, train_killed_and_resumed, tmp_path):
        assert rank['resumed']['losses'] == rank['whole']['losses'][4:]
        assert all(torch.equal(v, rank['resumed']['weights'][k]) for k, v in rank['whole']['weights'].items())
