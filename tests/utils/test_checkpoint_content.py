"""Damaged bytes and wrong kinds of entries in a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.errors import CheckpointError
from kd_plugins.utils.checkpoint_content import check_content, damaged_member, resume_faults

COMPLETE: dict[str, Any] = {
    'state_dict': {'weight': torch.ones(4)},
    'meta': {'epoch': 1, 'iter': 4},
    'message_hub': {'log_scalars': {}, 'runtime_info': {}, 'resumed_keys': {}},
    'optimizer': {'state': {}, 'param_groups': []},
    'param_schedulers': [{'last_step': 1}],
}


def test_a_flipped_bit_of_a_weight_is_found(tmp_path: Path) -> None:
    """PyTorch reads such a file without a word."""
    file = tmp_path / 'epoch_1.pth'
    torch.save(COMPLETE, file)
    assert damaged_member(file) is None
    whole = file.read_bytes()
    at = whole.index(torch.ones(4).numpy().tobytes()) + 2
    file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    assert float(torch.load(file, weights_only=True)['state_dict']['weight'][0]) != 1.0
    assert str(damaged_member(file)).endswith('data/0')


def test_the_older_format_has_no_checksums(tmp_path: Path) -> None:
    torch.save(COMPLETE, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    assert damaged_member(tmp_path / 'old.pth') is None


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [
        ({'state_dict': []}, "^load_from: 'a.pth' holds list as 'state_dict'; expected a dict$"),
        ({'state_dict': torch.zeros(2)}, "holds a tensor as 'state_dict'"),
        ({'state_dict': None}, "holds None as 'state_dict'"),
        ({'state_dict': {1: torch.zeros(2)}}, 'holds weights under the key 1; expected names of parameters'),
        ({**COMPLETE, 'meta': 'text'}, "holds str as 'meta'"),
    ],
)
def test_wrong_kinds(content: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        check_content(content, "load_from: 'a.pth'")


@pytest.mark.parametrize(
    ('changes', 'faults'),
    [
        ({}, []),
        ({'optimizer': {'one': COMPLETE['optimizer'], 'base_param_settings': None}}, []),
        ({'param_schedulers': {'one': [{}]}}, []),
        ({'meta': {}}, ["no 'meta.epoch'", "no 'meta.iter'"]),
        ({'meta': {'epoch': True, 'iter': -1}}, ["bool as 'meta.epoch'", "int as 'meta.iter'"]),
        ({'message_hub': {'a': 1}}, [f"no 'message_hub.{name}'" for name in COMPLETE['message_hub']]),
        ({'message_hub': None}, ["NoneType as 'message_hub'", "no 'message_hub'"]),
        ({'optimizer': {'a': 1}}, ["no 'optimizer.param_groups'"]),
        ({'optimizer': {}}, ["no 'optimizer.param_groups'"]),
        ({'distill': 3}, ["int as 'distill'"]),
        ({'param_schedulers': {'a': 1}}, ["dict as 'param_schedulers'"]),
    ],
)
def test_entries_that_no_run_can_go_on_from(changes: dict[str, Any], faults: list[str]) -> None:
    listed = list(resume_faults({**COMPLETE, **changes}))
    assert [fault.replace('None as', 'NoneType as') for fault in listed] == faults
