"""A protocol of tiny configs, and trainings in place of processes."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from kd_plugins.comparison import execution
from kd_plugins.comparison.experiment import Experiment
from kd_plugins.comparison.protocol import Protocol, read_protocol
from kd_plugins.errors import KDPluginsError

CONFIG = (
    "default_scope = 'mmengine'\ntrain_cfg = dict(max_epochs=2)\nval_cfg = dict(type='ValLoop')\nload_from = None\n"
)
PROTOCOL = """
question = 'Does it?'
arms = dict(
    plain=dict(config='{root}/a.py'),
    taught=dict(config='{root}/a.py', options={{'load_from': '{{big}}'}}),
    after=dict(config='{root}/a.py', options={{'load_from': '{{taught}}'}}),
)
teachers = dict(big=dict(config='{root}/a.py'))
seeds = (0, 1)
more_seeds = (2,)
metrics = ('AP',)
contrasts = (('taught', 'plain'),)
test_last = False
refuted_if = 'It does not.'
"""
GAIN = {'big': 0.0, 'plain': 0.0, 'taught': 0.2, 'after': 0.3, 'late': 0.1}


def protocol_of(folder: Path, name: str = 'trial', **changes: str) -> Protocol:
    (folder / 'a.py').write_text(CONFIG)
    path = folder / name / 'protocol.py'
    path.parent.mkdir()
    text = PROTOCOL.format(root=folder)
    for old, new in changes.items():
        text = text.replace(old, new)
    path.write_text(text)
    return read_protocol(path)


def experiment_of(folder: Path, name: str = 'trial', arms: Sequence[str] = (), **changes: str) -> Experiment:
    """Return the experiment of a new protocol; its runs lie in ``folder/runs``."""
    return Experiment(protocol_of(folder, name, **changes), folder / 'runs', arms)


class Trainings:
    """Commands in place of processes; each leaves a log and a checkpoint, unless its folder is to fail."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.fails: set[str] = set()
        self.weight = 0.0
        self.lock = threading.Lock()

    @property
    def runs(self) -> list[str]:
        return ['/'.join(command[command.index('--work-dir') + 1].split('/')[-2:]) for command in self.commands]

    def __call__(self, command: Sequence[str], log: Path, jobs: int = 1, held: Sequence[int] = ()) -> None:
        with self.lock:
            self.commands.append(list(command))
        if command[3] in ('test', 'show'):
            return
        arm, seed = log.parent.parent.name, int(log.parent.name.removeprefix('seed_'))
        if f'{arm}/{log.parent.name}' in self.fails:
            raise KDPluginsError('it broke')
        scalars = log.parent / '20260101_000000' / 'vis_data' / 'scalars.json'
        scalars.parent.mkdir(parents=True)
        # Plain varies by seed in another way than the others, so that two seeds leave the contrast undecided.
        value = GAIN[arm] + (0.1 * seed if arm == 'plain' else 0.0)
        steps = [
            {'lr': 0.1, 'loss': 1.0, 'time': 0.5 if arm == 'plain' else 0.75, 'step': 10},
            {'AP': value, 'step': 2},
        ]
        scalars.write_text(''.join(f'{json.dumps(row)}\n' for row in steps))
        torch.save({'state_dict': {'weight': torch.tensor(self.weight)}}, log.parent / 'epoch_2.pth')


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    made = Trainings()
    monkeypatch.setattr(execution, 'execute', made)
    return made
