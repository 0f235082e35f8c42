"""``kd_plugins deploy``: the fused checkpoint, its report, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip('mmdet')

from kd_plugins.commands import deploy
from tests.deployment.exported import HEIGHT, WIDTH, detector, files


def test_a_fused_checkpoint_is_smaller_and_stays_as_it_is(run: Any, tmp_path: Path) -> None:
    config, trained = files(tmp_path)
    first, second = tmp_path / 'new' / 'fused.pth', tmp_path / 'again.pth'
    done = run(deploy, config, trained, first, '--size', HEIGHT, WIDTH)
    assert done.status == 0, done.err
    assert f'DFINE, one image of {HEIGHT} x {WIDTH}' in done.out and f'written: {first}' in done.out
    before = sum(value.numel() for value in detector().parameters())
    state = torch.load(first, weights_only=True)
    assert state['meta'] == {'dataset_meta': {'classes': ('a', 'b', 'c')}, 'epoch': 3, 'fused': True}
    names = list(state['state_dict'])
    assert not any(part in name for name in names for part in ('running_mean', 'dn_query', 'branches.0.weight'))
    after = sum(value.numel() for value in state['state_dict'].values())
    assert f'{before:,}' in done.out and f'{after:,}' in done.out and after < before
    again = run(deploy, config, first, second, '--size', HEIGHT, WIDTH)
    assert again.status == 0 and 'the model is fused already' in again.out
    other = torch.load(second, weights_only=True)['state_dict']
    assert list(other) == names and all(torch.equal(other[name], value) for name, value in state['state_dict'].items())


def test_refused(run: Any, tmp_path: Path) -> None:
    config, trained = files(tmp_path)
    other = tmp_path / 'other.pth'
    torch.save({'state_dict': {'backbone.conv1.weight': torch.ones(1)}}, other)
    empty = tmp_path / 'empty.py'
    empty.write_text("default_scope = 'mmdet'\n")
    out = tmp_path / 'out.pth'
    cases = [
        ((config, trained, tmp_path / 'out.onnx'), "does not end in '.pth'; nearest:"),
        ((config, trained, trained), 'is CHECKPOINT; name another file'),
        ((config, trained, out, '--size', 100, 128), '--size is 100 128; expected multiples of 32, nearest: 96 128'),
        ((config, other, out), 'lacks 586 of the model'),
        ((config, tmp_path / 'trained.pt', out), 'does not exist; nearest:'),
        ((empty, trained, out), "has no 'model'"),
    ]
    for arguments, sentence in cases:
        done = run(deploy, *arguments)
        assert done.status == 2 and sentence in done.error, (sentence, done.err)
    assert not out.exists()
