"""Mixing weights of a comparison: what is measured, and what is said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from kd_plugins.comparison import mixing
from kd_plugins.comparison.members import BASELINE, CONTROL, DISTILLED, Member
from kd_plugins.comparison.plan import Arm
from kd_plugins.errors import KDPluginsError


def member(name: str, kind: str) -> Member:
    return Member(Arm(name, f'{name}.py', 3), Config(), kind)


MEMBERS = [member('plain', BASELINE), member('new', DISTILLED), member('control', CONTROL)]
SEEDS = {'plain': [0, 1], 'new': [0, 1], 'control': [0]}


def test_every_seed_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def execute(command: Sequence[str], log: Path, jobs: int = 1) -> None:
        commands.append(list(command))
        value = 0.25 if 'seed_0' in str(log) else 0.35
        (log.parent / mixing.FILE).write_text(json.dumps({'mixing_weight': value}))

    monkeypatch.setattr(mixing, 'execute', execute)
    for arm in ('plain', 'new'):
        for seed in (0, 1):
            folder = tmp_path / arm / f'seed_{seed}'
            folder.mkdir(parents=True)
            torch.save({'state_dict': {}, 'meta': {}}, folder / 'epoch_3.pth')
    expected = 'the closed-form mixing weight of new is 0.300 ± 0.071 over 2 seeds: the task_weight of a further '
    for _ in range(2):
        (sentence,) = mixing.mixing_notes(MEMBERS, SEEDS, tmp_path, ['a=1'], 1)
        assert sentence.startswith(expected)
    assert len(commands) == 2, 'the second report reads the files'
    words = commands[0]
    assert words[words.index('mixing-weight') + 1 :][:3] == [
        'plain.py',
        str(tmp_path / 'plain' / 'seed_0' / 'epoch_3.pth'),
        str(tmp_path / 'new' / 'seed_0' / 'epoch_3.pth'),
    ]
    assert words[-2:] == ['--cfg-options', 'a=1']


def test_equal_outputs_and_missing_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(KDPluginsError, match=r"--mixing-weight: '.*plain.*seed_0' holds no readable checkpoint"):
        mixing.mixing_notes(MEMBERS, SEEDS, tmp_path, [], 1)
    for seed in (0, 1):
        path = tmp_path / 'new' / f'seed_{seed}' / mixing.FILE
        path.parent.mkdir(parents=True)
        path.write_text('{"mixing_weight": null}')
    assert mixing.mixing_notes(MEMBERS, SEEDS, tmp_path, [], 1) == [
        'new gives the same outputs as the baseline, so it has no mixing weight'
    ]
