"""Rules on the files of runs: which checkpoint, which weights."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import nn

from kd_plugins.checkpoints import load_checkpoint
from kd_plugins.errors import CheckpointError
from kd_plugins.ops.fisher import fisher_record, information_of
from kd_plugins.stages.checkpoint_selection import (
    averages,
    chosen_weights,
    packed,
    pick_checkpoint,
    plain,
)
from tests.versioned import Versioned


def settings(save_best=None, rule=None, **loop):
    checkpoint = {'save_best': save_best, 'rule': rule}
    loop = {'max_epochs': 4, **loop}
    return Config({'train_cfg': loop, 'val_cfg': {'type': 'ValLoop'}, 'default_hooks': {'checkpoint': checkpoint}})


def save(folder, name, **remembered):
    content = {'state_dict': {'a': torch.zeros(2)}, 'message_hub': {'runtime_info': remembered}, 'meta': {}}
    torch.save(content, folder / f'{name}.pth')


def test_the_last_is_the_newest_that_is_whole(tmp_path):
    for epoch in (2, 9, 10):
        save(tmp_path, f'epoch_{epoch}')
    (tmp_path / 'epoch_11.pth').write_bytes(b'PK\x03\x04 cut off')
    assert pick_checkpoint(tmp_path, settings(), 'last', 's').name == 'epoch_10.pth'
    with pytest.raises(CheckpointError, match=r"stages\.x: '.*' holds no readable checkpoint"):
        pick_checkpoint(tmp_path / 'empty', settings(), 'last', 'stages.x')


def test_the_best_is_what_the_run_remembers_and_not_a_leftover(tmp_path):
    for name in ('best_AP_epoch_2', 'best_AP_epoch_3'):
        save(tmp_path, name)
    # The run was moved: of the remembered path, the name counts.
    save(tmp_path, 'epoch_4', best_ckpt='/elsewhere/best_AP_epoch_2.pth')
    assert pick_checkpoint(tmp_path, settings('AP'), 'best', 's').name == 'best_AP_epoch_2.pth'
    (tmp_path / 'best_AP_epoch_2.pth').unlink()
    with pytest.raises(CheckpointError, match=r"best_AP_epoch_2\.pth', the best by 'AP', is missing"):
        pick_checkpoint(tmp_path, settings('AP'), 'best', 's')
    save(tmp_path, 'epoch_4')
    with pytest.raises(CheckpointError, match=r"names no best checkpoint for 'AP'"):
        pick_checkpoint(tmp_path, settings('AP'), 'best', 's')


def test_one_of_several_metrics(tmp_path):
    save(tmp_path, 'best_AR_epoch_1')
    save(tmp_path, 'epoch_4', best_ckpt_AP='x/best_AP_epoch_2.pth', best_ckpt_AR='x/best_AR_epoch_1.pth')
    assert pick_checkpoint(tmp_path, settings(['AP', 'AR']), 'best:AR', 's').name == 'best_AR_epoch_1.pth'


def test_averaged_and_raw_weights():
    plain_run = {'state_dict': {'a': torch.tensor(1.0)}}
    averaged = {**plain_run, 'ema_state_dict': {'steps': torch.tensor(3), 'module.a': torch.tensor(2.0)}}
    found = {ema: chosen_weights(averaged, ema, 's') for ema in (None, True, False)}
    assert {ema: (weights['a'].item(), kind) for ema, (weights, kind) in found.items()} == {
        None: (1.0, 'averaged'),
        True: (1.0, 'averaged'),
        False: (2.0, 'raw'),
    }
    assert all(set(weights) == {'a'} for weights, _ in found.values())
    assert [chosen_weights(plain_run, ema, 's')[1] for ema in (None, False)] == ['raw', 'raw']
    with pytest.raises(CheckpointError, match=r's\.ema is True, but the checkpoint was saved without an EMAHook'):
        chosen_weights(plain_run, True, 's')


def test_averaging_is_found_wherever_hooks_are():
    assert averages(Config({'default_hooks': {'ema': {'type': 'mmengine.EMAHook'}}}))
    assert not averages(Config({'custom_hooks': [{'type': 'NumClassCheckHook'}], 'model': {'type': 'EMAHook'}}))


def test_equal_content_gives_equal_bytes():
    word, again = 'classes', ''.join(['cla', 'sses'])  # pickle writes one object twice otherwise than two equal ones
    assert word is not again
    first, second = ({'dataset_meta': {word: 'x', 'kind': other}} for other in (word, again))
    third = {'dataset_meta': {word: 'x', 'kind': 'another'}}
    content = [packed({'x': torch.arange(3.0)}, meta) for meta in (first, second, third)]
    assert content[0] == content[1] != content[2]


def test_a_file_survives_being_read_and_written(tmp_path):
    (tmp_path / 'a.pth').write_bytes(packed({'x': torch.arange(3.0)}, {'cfg': 'x = 1', 'other': 'x'}))
    again = load_checkpoint(tmp_path / 'a.pth')
    assert packed(again['state_dict'], again['meta']) == (tmp_path / 'a.pth').read_bytes()
    (tmp_path / 'b.pth').write_bytes(packed({}, {}, fisher_record({'x': torch.arange(3.0)}, 4)))
    assert torch.equal(information_of(load_checkpoint(tmp_path / 'b.pth'), 'b')['x'], torch.arange(3.0))


@pytest.mark.parametrize('ema', [None, False])
def test_versions_of_modules_survive(tmp_path, ema):
    model, other = nn.Sequential(Versioned()), nn.Sequential(Versioned())
    average = nn.ModuleDict({'module': model}).state_dict()
    weights, _ = chosen_weights({'state_dict': model.state_dict(), 'ema_state_dict': average}, ema, 's')
    (tmp_path / 'a.pth').write_bytes(packed(weights, {}))
    again = load_checkpoint(tmp_path / 'a.pth')['state_dict']
    assert packed(again, {}) == (tmp_path / 'a.pth').read_bytes()
    other.load_state_dict(again)
    assert torch.equal(other[0].weight, model[0].weight)


def test_meta_becomes_plain():
    found = plain({'a': np.float32(0.5), 1: [np.array([[1, 2]])], 'b': {'y', 'x'}, 'c': torch.nn.ReLU})
    assert found['a'] == 0.5 and found[1] == [[[1, 2]]] and found['b'] == ['x', 'y']
    assert type(found['a']) is float and isinstance(found['c'], str)
