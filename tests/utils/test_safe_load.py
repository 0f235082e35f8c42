"""Safe reading of files, by PyTorch's loader and by the one for earlier versions."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from torch import nn

from kd_plugins.utils import safe_load
from kd_plugins.utils.safe_load import RestrictedUnpickler, load_restricted, load_safely

Load = Callable[[Path], Any]
LOADERS = pytest.mark.parametrize('load', [load_safely, load_restricted])


class Foreign:
    """A class from elsewhere."""


class Command:
    """An object that runs a command when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ('exit 1',)


@LOADERS
@pytest.mark.parametrize('zipped', [True, False])
def test_everything_in_a_checkpoint_of_mmengine_is_read(tmp_path: Path, load: Load, zipped: bool) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.rand(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    saved = {
        'state_dict': net.state_dict(),
        'optimizer': optimizer.state_dict(),
        'log': HistoryBuffer([1.0, 2.0], [1, 1]),
        'scalars': [np.float64(0.5), np.int64(3), np.float32(0.25), np.bool_(True)],
        'array': np.arange(4, dtype=np.int32),
        'plain': {'set': {1, 2}, 'bytes': b'abc', 'none': None, 'text': 'ä', 'tuple': (1, 2.5)},
        'torch': [torch.zeros(2, dtype=torch.bfloat16), torch.Size([2]), nn.Parameter(torch.ones(1)), torch.uint8],
        'device': torch.device('cpu'),
    }
    torch.save(saved, tmp_path / 'x.pth', _use_new_zipfile_serialization=zipped)
    content = load(tmp_path / 'x.pth')
    assert content['log'].mean() == 1.5 and content['log'].statistics('current') == 2.0
    assert content['scalars'] == saved['scalars'] and content['array'].tolist() == [0, 1, 2, 3]
    assert content['plain'] == saved['plain'] and content['device'] == torch.device('cpu')
    assert isinstance(content['state_dict'], OrderedDict) and list(content['state_dict']) == list(net.state_dict())
    torch.testing.assert_close(content['state_dict'], net.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(content['optimizer']['state'], optimizer.state_dict()['state'], rtol=0, atol=0)
    half, *others = content['torch']
    assert half.dtype == torch.bfloat16 and others == [torch.Size([2]), nn.Parameter(torch.ones(1)), torch.uint8]


@LOADERS
@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('value', [Foreign(), Foreign, Command(), print, os.getcwd, getattr])
def test_everything_else_is_refused(tmp_path: Path, load: Load, zipped: bool, value: Any) -> None:
    torch.save({'state_dict': {}, 'meta': value}, tmp_path / 'x.pth', _use_new_zipfile_serialization=zipped)
    if value is getattr:  # the file gets the replacement, which returns statistics of MMEngine alone
        assert load(tmp_path / 'x.pth')['meta'] is not getattr
        return
    with pytest.raises(pickle.UnpicklingError, match=r'GLOBAL [\w.]*(Foreign|system|print|getcwd)'):
        load(tmp_path / 'x.pth')


@LOADERS
def test_a_program_is_refused(tmp_path: Path, load: Load) -> None:
    torch.jit.script(nn.Linear(1, 1)).save(str(tmp_path / 'x.pth'))
    with pytest.raises(pickle.UnpicklingError, match=r'GLOBAL torch\.jit\.ScriptModule'):
        load(tmp_path / 'x.pth')


MARK, CLASS = b'(', b'cmmengine.logging.history_buffer\nHistoryBuffer\n'
REBUILD = b'ctorch._utils\n_rebuild_tensor\n'


@pytest.mark.parametrize(
    'instructions',
    [
        pytest.param(REBUILD + b'}X\x01\x00\x00\x00aK\x01sb', id='state of a function'),
        pytest.param(CLASS + b'N}X\x04\x00\x00\x00meanK\x01s\x86b', id='attributes of a class'),
        pytest.param(CLASS + b'X\x01\x00\x00\x00aK\x01s', id='entry of a class'),
        pytest.param(CLASS + b'K\x01a', id='element of a class'),
        pytest.param(CLASS + MARK + b'K\x01e', id='elements of a class'),
        pytest.param(b'}N\x85R', id='call of a dict'),
        pytest.param(MARK + b'imath\nsin\n', id='old instance'),
        pytest.param(MARK + CLASS + b'o', id='old object'),
        pytest.param(CLASS + b')}\x92', id='keyword arguments'),
        pytest.param(b'\x82\x01', id='extension'),
        pytest.param(b'cbuiltins\ngetattr\n' + CLASS + b'X\x08\x00\x00\x00__init__\x86R', id='other attribute'),
    ],
)
def test_instructions_that_no_checkpoint_needs_are_refused(tmp_path: Path, instructions: bytes) -> None:
    path = tmp_path / 'x.pkl'
    path.write_bytes(b'\x80\x02' + instructions + b'.')
    before = dict(vars(HistoryBuffer))
    with path.open('rb') as file, pytest.raises((pickle.UnpicklingError, KeyError)):
        RestrictedUnpickler(file).load()
    assert dict(vars(HistoryBuffer)) == before


def test_versions_without_names_take_the_restricted_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({'log': HistoryBuffer([1.0], [1])}, tmp_path / 'x.pth')
    monkeypatch.setattr(safe_load, 'ACCEPTS_NAMES', False)
    monkeypatch.setattr(torch.serialization, 'add_safe_globals', None, raising=False)
    assert load_safely(tmp_path / 'x.pth')['log'].current() == 1.0
