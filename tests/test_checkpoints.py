"""Checkpoints: atomic writes, and the newest one that can be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from mmengine.fileio import get_file_backend
from torch import nn

from kd_plugins.checkpoints import (
    ATOMIC_BACKEND,
    AtomicBackend,
    compare_weights,
    is_readable,
    latest_checkpoint,
    load_checkpoint,
    load_weights,
)
from kd_plugins.errors import CheckpointError
from tests.file_server import serve
from tests.versioned import Versioned


def test_latest_skips_damaged_checkpoints(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    for epoch in (2, 9, 10, 11):
        torch.save({'state_dict': {'x': torch.zeros(1000)}}, tmp_path / f'epoch_{epoch}.pth')
    whole = (tmp_path / 'epoch_11.pth').read_bytes()
    (tmp_path / 'epoch_11.pth').write_bytes(whole[: len(whole) // 2])
    flipped = bytearray((tmp_path / 'epoch_10.pth').read_bytes())
    flipped[1500] ^= 0xFF
    (tmp_path / 'epoch_10.pth').write_bytes(flipped)
    (tmp_path / 'last_checkpoint').write_text('')
    torch.save({}, tmp_path / 'best_coco_bbox_mAP_epoch_12.pth')
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_9.pth')
    assert not is_readable(tmp_path / 'epoch_12.pth')


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = get_file_backend(str(tmp_path / 'x.pth'), backend_args={'backend': ATOMIC_BACKEND})
    assert isinstance(backend, AtomicBackend)
    backend.put(b'old', tmp_path / 'x.pth')

    def full_disk(descriptor: int) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full_disk)
    with pytest.raises(OSError, match='No space left'):
        backend.put(b'new', tmp_path / 'x.pth')
    assert (tmp_path / 'x.pth').read_bytes() == b'old'
    assert [path.name for path in tmp_path.iterdir()] == ['x.pth'], 'no temporary file stays'


def test_outdated_file_is_removed_after_the_next_is_written(tmp_path: Path) -> None:
    backend = AtomicBackend()
    backend.put(b'1', tmp_path / 'epoch_1.pth')
    AtomicBackend().remove(tmp_path / 'epoch_1.pth')
    assert (tmp_path / 'epoch_1.pth').exists()
    backend.put(b'2', tmp_path / 'epoch_2.pth')
    assert [path.name for path in tmp_path.iterdir()] == ['epoch_2.pth']
    backend.remove(tmp_path / 'epoch_2.pth')
    backend.put(b'3', tmp_path / 'epoch_2.pth')
    assert (tmp_path / 'epoch_2.pth').read_bytes() == b'3'


def test_permissions_are_those_of_an_ordinary_file(tmp_path: Path) -> None:
    AtomicBackend().put(b'1', tmp_path / 'a')
    (tmp_path / 'b').write_bytes(b'1')
    assert (tmp_path / 'a').stat().st_mode == (tmp_path / 'b').stat().st_mode


class Foreign:
    """A class that a checkpoint from elsewhere may hold."""


@pytest.mark.parametrize('zipped', [True, False])
def test_a_foreign_class_is_named_in_both_formats(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / 'model.pth'
    torch.save({'state_dict': {}, 'meta': Foreign()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"holds '[\w.]*Foreign', which could run code when loaded"):
        load_checkpoint(path)
    if not zipped:
        path.write_bytes(path.read_bytes()[:40])
        with pytest.raises(CheckpointError, match='is truncated or not a PyTorch checkpoint'):
            load_checkpoint(path)


def test_a_bad_file_behind_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    torch.save({'state_dict': {}}, tmp_path / 'good.pth')
    torch.save({'state_dict': {}, 'meta': Foreign()}, tmp_path / 'foreign.pth')
    good = (tmp_path / 'good.pth').read_bytes()
    files = {
        'page.pth': b'\n<!DOCTYPE html><html>Log in</html>',
        'empty.pth': b'',
        'foreign.pth': (tmp_path / 'foreign.pth').read_bytes(),
    }
    kept = tmp_path / 'home' / 'hub' / 'checkpoints'
    with serve(files) as address:
        for name, sentence in (
            ('page.pth', r"teacher.checkpoint: 'http\S+/page.pth' is a web page; copy the file here by other means"),
            ('empty.pth', r"'http\S+/empty.pth' is truncated or not a PyTorch checkpoint; copy the file here"),
            ('foreign.pth', r"'http\S+/foreign.pth' holds '[\w.]*Foreign', which could run code when loaded"),
        ):
            with pytest.raises(CheckpointError, match=sentence):
                load_checkpoint(f'{address}/{name}', 'teacher.checkpoint')
            assert not (kept / name).exists(), 'the next call would take it for the file'
        files['page.pth'] = good
        assert load_checkpoint(f'{address}/page.pth') == {'state_dict': {}}
        # A file that another program left there is not ours to delete.
        (kept / 'page.pth').write_bytes(good[:100])
        with pytest.raises(CheckpointError, match=r"is truncated or .*; delete '\S+page.pth' to download it again"):
            load_checkpoint(f'{address}/page.pth')
        assert (kept / 'page.pth').exists()
    with serve({'short.pth': good[:200]}, promised=300) as address:
        with pytest.raises(CheckpointError, match=r'(cannot be downloaded|is truncated)'):
            load_checkpoint(f'{address}/short.pth')
        assert not (kept / 'short.pth').exists()


@pytest.mark.parametrize('name', ['x' * 300 + '.pth', 'a\0b.pth', ''], ids=['long', 'nul', 'empty'])
def test_a_name_that_no_file_can_have(name: str) -> None:
    with pytest.raises(CheckpointError, match=r'^teacher\.checkpoint: .* does not exist; valid: '):
        load_checkpoint(name, key='teacher.checkpoint')


def test_a_folder_is_called_one(tmp_path: Path) -> None:
    (tmp_path / 'run').mkdir()
    torch.save({}, tmp_path / 'run' / 'epoch_3.pth')
    with pytest.raises(CheckpointError, match=r"x: '\S+/run' is a folder; nearest: '\S+/run/epoch_3.pth'"):
        load_checkpoint(tmp_path / 'run', 'x')


def test_a_checkpoint_with_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'epoch_1.pth'
    torch.save({'state_dict': {'weight': torch.ones(4)}}, path)
    whole = path.read_bytes()
    at = whole.index(torch.ones(4).numpy().tobytes())
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(
        CheckpointError, match=r"epoch_1\.pth' is damaged: the checksum of its part '.*data/0' is wrong; copy"
    ):
        load_checkpoint(path)


def test_compare_weights_names_every_tensor() -> None:
    saved = {'a': torch.zeros(2), 'b': torch.zeros(2, 3), 'x': torch.zeros(1)}
    report = compare_weights(saved, {'a': torch.ones(2), 'b': torch.ones(3, 2), 'c': torch.ones(1)})
    assert report.loaded == ['a'] and report.missing == ['c'] and report.unexpected == ['x']
    assert report.mismatched == {'b': ((2, 3), (3, 2))}


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_versions_of_modules_are_read(tmp_path: Path, prefix: str) -> None:
    saved, model = (nn.Sequential(nn.ReLU(), Versioned()) for _ in range(2))
    wrapped = saved if not prefix else nn.ModuleDict({'module': saved})
    torch.save({'state_dict': wrapped.state_dict()}, tmp_path / 'a.pth')
    load_weights(model, load_checkpoint(tmp_path / 'a.pth'), 'a.pth')
    assert torch.equal(model[1].weight, saved[1].weight)


def test_a_pose_head_keeps_the_order_of_its_heatmaps(tmp_path: Path) -> None:
    heads = pytest.importorskip('mmpose.models.heads')
    losses = dict(heatmap_loss=dict(type='KeypointMSELoss'), displacement_loss=dict(type='SoftWeightSmoothL1Loss'))
    first, second = (
        heads.DEKRHead(4, num_keypoints=3, num_heatmap_filters=4, num_displacement_filters_per_keypoint=4, **losses)
        for _ in range(2)
    )
    torch.save({'state_dict': first.state_dict()}, tmp_path / 'a.pth')
    load_weights(second, load_checkpoint(tmp_path / 'a.pth'), 'a.pth')
    assert all(torch.equal(value, first.state_dict()[name]) for name, value in second.state_dict().items())


def test_what_hides_the_weights_is_named(tmp_path: Path) -> None:
    model = nn.Linear(2, 1)
    state = model.state_dict()
    wrapped = {f'{role}.{name}': value for role in ('student', 'teacher') for name, value in state.items()}
    cases: list[tuple[dict[str, object], str]] = [
        ({'model': state, 'epoch': 3}, r"x: 'a.pth' holds no tensors .*; its entries: 'model', 'epoch'; save"),
        (
            {'state_dict': wrapped},
            r"none of its 4 keys .* fits; save them again without 'student\.' in front of each name",
        ),
    ]
    for checkpoint, sentence in cases:
        with pytest.raises(CheckpointError, match=sentence):
            load_weights(model, checkpoint, 'a.pth', key='x')
