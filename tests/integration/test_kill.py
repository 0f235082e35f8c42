"""A run that is killed with SIGKILL at a random iteration and resumed."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook

from kd_plugins.checkpoints import latest_checkpoint
from tests.integration.runs import EMA, FEATURE, LD, Squares, make_runner
from tests.ranks import warm_method


class Log(Hook):
    """Writes the losses of each iteration, exactly, to a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        values = {key: float(value.detach()).hex() for key, value in outputs.items()}
        with self.path.open('a') as file:
            file.write(json.dumps([runner.iter, values]) + '\n')


def _train(work_dir: Path, log: Path, checkpoint: str | None) -> None:
    torch.set_num_threads(1)
    distillers, dataset = {'localization': LD, 'feature': FEATURE}, Squares(augment=True)
    resumed = {'resume': checkpoint is not None, 'load_from': checkpoint}
    make_runner(work_dir, distillers, EMA, epochs=6, dataset=dataset, hooks=[Log(log)], **resumed).train()


def start(work_dir: Path, log: Path, checkpoint: str | None = None) -> Any:
    """Start a training in a process of its own, forked from a warm server."""
    context: Any = multiprocessing.get_context(warm_method())
    process = context.Process(target=_train, args=(work_dir, log, checkpoint))
    process.start()
    return process


def finish(process: Any) -> None:
    process.join()
    assert process.exitcode == 0


def read(path: Path) -> dict[int, dict[str, str]]:
    """Return the losses of each iteration; the last line may be cut."""
    lines = path.read_text().splitlines() if path.exists() else []
    losses_by_iteration = {}
    for line in lines:
        try:
            iteration, losses = json.loads(line)
        except json.JSONDecodeError:
            continue
        losses_by_iteration[iteration] = losses
    return losses_by_iteration


@pytest.mark.slow
def test_sigkill_at_a_random_iteration(tmp_path: Path) -> None:
    finish(start(tmp_path / 'whole', tmp_path / 'whole.jsonl'))
    expected = read(tmp_path / 'whole.jsonl')
    # Not before the second epoch, because the first checkpoint must be complete, and not in the last epoch, because the
    # run may otherwise end before the signal arrives.
    epoch = len(expected) // len(list((tmp_path / 'whole').glob('epoch_*.pth')))
    kill_at = random.Random(os.getpid()).randrange(epoch + 1, len(expected) - epoch)
    process = start(tmp_path / 'cut', tmp_path / 'cut.jsonl')
    while len(read(tmp_path / 'cut.jsonl')) < kill_at and process.is_alive():
        time.sleep(0.01)
    process.kill()
    process.join()
    killed_after = len(read(tmp_path / 'cut.jsonl'))
    checkpoint = latest_checkpoint(tmp_path / 'cut')
    assert checkpoint is not None
    finish(start(tmp_path / 'cut', tmp_path / 'resumed.jsonl', str(checkpoint)))
    resumed = read(tmp_path / 'resumed.jsonl')
    assert resumed, f'killed after {killed_after} iterations, nothing resumed'
    assert resumed == {iteration: expected[iteration] for iteration in resumed}
    assert max(resumed) == max(expected)
    assert min(resumed) <= killed_after
