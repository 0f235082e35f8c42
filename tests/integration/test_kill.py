"""A run that is killed with SIGKILL at a random iteration and resumed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.checkpoints import latest_checkpoint

SCRIPT = """
import json, sys
from pathlib import Path
import torch
from mmengine.hooks import Hook
from tests.integration.runs import EMA, FEATURE, LD, Squares, make_runner
torch.set_num_threads(1)
work_dir, log = Path(sys.argv[1]), Path(sys.argv[2])
class Log(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        values = {key: float(value.detach()).hex() for key, value in outputs.items()}
        with log.open('a') as file:
            file.write(json.dumps([runner.iter, values]) + chr(10))
checkpoint = sys.argv[3] if len(sys.argv) > 3 else None
make_runner(work_dir, {'localization': LD, 'feature': FEATURE}, EMA, epochs=6, dataset=Squares(augment=True),
            hooks=[Log()], resume=checkpoint is not None, load_from=checkpoint).train()
"""


def start(*args: Any) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[2]
    return subprocess.Popen([sys.executable, '-c', SCRIPT, *map(str, args)], cwd=root, stderr=subprocess.DEVNULL)


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
    assert start(tmp_path / 'whole', tmp_path / 'whole.jsonl').wait() == 0
    expected = read(tmp_path / 'whole.jsonl')
    # Not before the second epoch, because the first checkpoint must be complete, and not in the last epoch, because the
    # run may otherwise end before the signal arrives.
    epoch = len(expected) // len(list((tmp_path / 'whole').glob('epoch_*.pth')))
    kill_at = random.Random(os.getpid()).randrange(epoch + 1, len(expected) - epoch)
    process = start(tmp_path / 'cut', tmp_path / 'cut.jsonl')
    while len(read(tmp_path / 'cut.jsonl')) < kill_at and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed_after = len(read(tmp_path / 'cut.jsonl'))
    checkpoint = latest_checkpoint(tmp_path / 'cut')
    assert checkpoint is not None
    assert start(tmp_path / 'cut', tmp_path / 'resumed.jsonl', checkpoint).wait() == 0
    resumed = read(tmp_path / 'resumed.jsonl')
    assert resumed, f'killed after {killed_after} iterations, nothing resumed'
    assert resumed == {iteration: expected[iteration] for iteration in resumed}
    assert max(resumed) == max(expected)
    assert min(resumed) <= killed_after
