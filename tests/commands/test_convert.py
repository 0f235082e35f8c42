"""``kd_plugins convert``: checkpoint, report, shipped sizes, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip('mmdet')

from kd_plugins.commands import convert
from tests.conversion import rtdetr_files
from tests.conversion.files import own_weights, save_release


def test_released_file_for_its_size(run: Any, tmp_path: Path) -> None:
    file, out = save_release(tmp_path / 'dfine_n_coco.pth'), tmp_path / 'new' / 'n.pth'
    done = run(convert, file, '--out', out)
    assert done.status == 0, done.err
    assert done.out.splitlines()[-3:] == [
        'D-FINE-N, 665 tensors, layout: release',
        'classes: all 80 rows in their order',
        f'written: {out}',
    ]
    checkpoint = torch.load(out, weights_only=True)
    assert checkpoint['meta']['dataset_meta']['classes'][0] == 'person'
    expected = own_weights()
    assert checkpoint['state_dict'].keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in checkpoint['state_dict'].items())
    assert 'activation' not in done.err


def test_config_with_other_classes(run: Any, tmp_path: Path) -> None:
    config = tmp_path / 'config.py'
    config.write_text(
        "_base_ = 'kd_plugins::_base_/models/dfine_n.py'\n"
        "default_scope = 'mmdet'\n"
        'model = dict(bbox_head=dict(num_classes=2))\n'
        "metainfo = dict(classes=('Dog', 'platelet'))\n"
        "train_dataloader = dict(dataset=dict(type='CocoDataset', ann_file='a.json', metainfo=metainfo))\n"
    )
    done = run(convert, save_release(tmp_path / 'last.pth'), '--config', config, '--out', tmp_path / 'out.pth')
    assert done.status == 0, done.err
    assert 'classes: 1 of 2 taken from the 80 rows of the file' in done.out
    assert "initialised: 1 classes ('platelet') in 9 tensors:" in done.out
    assert '  bbox_head.cls_branches.3.bias' in done.out
    assert (
        'note: SOURCE is taken for D-FINE; a file of DEIM or RT-DETRv4 needs --activation silu, and --config'
        in done.err
    )
    state = torch.load(tmp_path / 'out.pth', weights_only=True)['state_dict']
    assert torch.equal(
        state['bbox_head.cls_branches.0.weight'][0], own_weights()['bbox_head.cls_branches.0.weight'][16]
    )


def test_refused(run: Any, tmp_path: Path) -> None:
    file = save_release(tmp_path / 'dfine_n_coco.pth')
    cases = {
        ('--size', 's', '--out', 'x.pth'): 'is D-FINE-N, but the config is D-FINE-S; inherit',
        ('--out', 'x.txt'): "--out: 'x.txt' does not end in '.pth'; nearest: 'x.pth'",
        ('--out', str(file)): 'is SOURCE; name another file',
        ('--activation', 'silu', '--out', 'x.pth'): 'was trained with SiLU',
        ('--source-classes', 'a', 'b', '--out', 'x.pth'): '--source-classes: 2 names, but',
        ('--out', 'x.pth', '--cfg-options', 'model.bbox_head.reg_scale=8'): 'has reg_scale=4, but',
    }
    for arguments, sentence in cases.items():
        done = run(convert, file, *arguments)
        assert done.status == 2 and sentence in done.error, (arguments, done.err)
    torch.save({'stem.stem1.conv.weight': torch.ones(1)}, tmp_path / 'backbone.pth')
    done = run(convert, tmp_path / 'backbone.pth', '--out', 'x.pth')
    assert done.status == 2 and 'is a backbone; give --config or --size' in done.error


def test_rtdetr_for_its_size(run: Any, tmp_path: Path) -> None:
    file = save_release(tmp_path / 'rtdetrv2_r18vd_120e_coco.pth', 'bare', rtdetr_files.release_weights())
    done = run(convert, file, '--out', tmp_path / 'out.pth')
    assert done.status == 0, done.err
    assert 'RT-DETR r18vd, 533 tensors, layout: release' in done.out and 'activation' not in done.err
    again = run(convert, tmp_path / 'out.pth', '--out', tmp_path / 'again.pth')
    assert again.status == 2 and 'a name of MMDetection and not of a release; a checkpoint that' in again.error
    state, expected = torch.load(tmp_path / 'out.pth', weights_only=True)['state_dict'], rtdetr_files.own_weights()
    assert state.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in state.items())
