"""What teachers with fixed weights share: their log, their settings and their state in a checkpoint."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from kd_plugins.errors import ConfigError
from kd_plugins.teachers import FrozenTeacher
from kd_plugins.teachers import fixed as fixed_module
from tests.teachers.networks import TinyNet


def test_keys_that_do_not_match_are_in_the_log_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[tuple[str, int]] = []
    monkeypatch.setattr(fixed_module, 'print_log', lambda text, logger, level: logged.append((text, level)))
    state = TinyNet(width=4).state_dict()
    half = {'fc.weight': state['fc.weight'], 'norm.num_batches_tracked': torch.tensor(3), 'old.bias': torch.zeros(1)}
    torch.save({'state_dict': half}, tmp_path / 'half.pth')
    teacher = FrozenTeacher({'model': {'type': 'kd_plugins.TinyNet'}}, str(tmp_path / 'half.pth'), strict=False)
    teacher.prepare(TinyNet())
    (missing, unexpected), levels = zip(*logged)
    assert "half.pth': 6 of 7 keys of the teacher stay at their random start ('fc.bias', 'norm.weight', " in missing
    assert "half.pth': 1 keys of the file are not used ('old.bias')" in unexpected and levels == (logging.WARNING,) * 2
    logged.clear()
    torch.save({'state_dict': TinyNet().state_dict()}, tmp_path / 'whole.pth')
    FrozenTeacher({'model': {'type': 'kd_plugins.TinyNet'}}, str(tmp_path / 'whole.pth')).prepare(TinyNet())
    assert not logged


def test_settings() -> None:
    with pytest.raises(ConfigError, match=r'teacher\.seed is -1; valid: an integer, such as 0'):
        FrozenTeacher({}, None, seed=-1)
    with pytest.raises(ConfigError, match=r'teacher\.fold is 1; valid: True, False'):
        FrozenTeacher({}, None, fold=1)  # type: ignore[arg-type]


def test_state_holds_no_weights() -> None:
    teacher = FrozenTeacher({'model': {'type': 'kd_plugins.TinyNet'}}, None)
    assert teacher.state_dict() == {'folded': None}
    teacher.prepare(TinyNet())
    teacher.load_state_dict({'folded': {'pairs': [], 'channels_last': False}})
    assert teacher.state_dict() == {'folded': {'pairs': [], 'channels_last': False}}
