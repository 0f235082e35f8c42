"""Validations that a resumed run lacks, because it was stopped between a checkpoint and its validation."""

import logging
import os
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from kd_plugins.runner.resume import (
    checkpoint_folder,
    is_settled,
    is_validated,
    lacks_validation,
    newest_checkpoint,
)
from kd_plugins.runner.run_log import RunLog, read_run


def settings(save_best=None, rule=None, **loop):
    checkpoint = {'save_best': save_best, 'rule': rule}
    loop = {'max_epochs': 4, **loop}
    return Config({'train_cfg': loop, 'val_cfg': {'type': 'ValLoop'}, 'default_hooks': {'checkpoint': checkpoint}})


def test_validations_are_those_of_mmengine():
    changing = settings(max_epochs=7, val_interval=3, val_begin=2, dynamic_intervals=[(6, 1)])
    assert [step for step in range(1, 8) if is_validated(changing, step)] == [3, 5, 6, 7]
    iterations = Config({'train_cfg': {'max_iters': 2500}, 'val_cfg': {'type': 'ValLoop'}})
    assert [step for step in range(100, 2600, 100) if is_validated(iterations, step)] == [1000, 2000, 2500]
    assert not is_validated(Config({'train_cfg': {'max_epochs': 1}}), 1)


# The log of epoch 2, the best score in its checkpoint, and whether nothing is missing.
CUT_OFF = {
    'in the validation': ({1: 0.5}, 0.5, 'greater', False),
    'before the best was saved': ({1: 0.5, 2: 0.7}, 0.5, 'greater', False),
    'before the best was saved, less is better': ({1: 0.5, 2: 0.3}, 0.5, 'less', False),
    'after it, and it is the best': ({1: 0.5, 2: 0.7}, 0.7, 'greater', True),
    'after it, and it is not the best': ({1: 0.5, 2: 0.4}, 0.5, 'greater', True),
}


@pytest.mark.parametrize('auto', [False, True])
@pytest.mark.parametrize('when', CUT_OFF)
def test_a_validation_that_was_cut_off(when, auto):
    values, best, rule, settled = CUT_OFF[when]
    checkpoint = {'message_hub': {'runtime_info': {'best_score': best}}}
    config = settings('auto' if auto else 'AP', rule)
    assert is_settled(checkpoint, 2, config, RunLog(metrics={'AP': values})) is settled


def test_without_a_best_checkpoint_the_log_decides():
    log = RunLog(metrics={'AP': {1: 0.5}})
    assert [is_settled({}, epoch, settings(), log) for epoch in (1, 2)] == [True, False]
    assert is_settled({}, 2, Config({'train_cfg': {'max_epochs': 4}}), RunLog()), 'a run without validation'


@pytest.mark.parametrize('save_best', [None, 'auto', 'coco/AP'])
def test_a_validation_without_a_metric_was_not_cut_off(tmp_path, save_best):
    """MMDetection's metric returns none where nothing was detected, and a resumed run validated again for it."""
    path = tmp_path / '1' / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(
        '{"lr": 0.1, "loss": 1.0, "data_time": 0.1, "time": 0.2, "epoch": 2, "iter": 12, "memory": 1, "step": 12}\n'
        '{"data_time": 0.1, "time": 0.2, "step": 2}\n'
    )
    log = read_run(tmp_path)
    assert [is_settled({}, epoch, settings(save_best), log) for epoch in (1, 2)] == [False, True]


def test_only_checkpoints_of_the_run_itself_lack_one(tmp_path):
    torch.save({'meta': {'epoch': 2, 'iter': 8}}, tmp_path / 'epoch_2.pth')
    config = settings()
    config.work_dir = str(tmp_path)
    assert lacks_validation(config, str(tmp_path / 'epoch_2.pth'))
    config.work_dir = str(tmp_path / 'other')
    assert not lacks_validation(config, str(tmp_path / 'epoch_2.pth'))
    assert not lacks_validation(config, 'https://host/epoch_2.pth')


def test_a_loop_without_a_known_length_lacks_none(tmp_path):
    torch.save({'meta': {'epoch': 2, 'iter': 8}}, tmp_path / 'epoch_2.pth')
    config = Config({'train_cfg': {'type': 'OtherLoop'}, 'val_cfg': {}, 'work_dir': str(tmp_path)})
    assert not lacks_validation(config, str(tmp_path / 'epoch_2.pth'))


@pytest.mark.parametrize(
    ('hook', 'names', 'newest'),
    [
        ({}, ['epoch_2.pth', 'epoch_10.pth'], 'runs/a/epoch_10.pth'),
        ({'out_dir': 'OUT'}, ['epoch_2.pth', 'epoch_10.pth'], 'out/a/epoch_10.pth'),
        ({'filename_tmpl': 'step_{:03d}.pth'}, ['step_009.pth', 'step_010.pth', 'epoch_11.pth'], 'runs/a/step_010.pth'),
        ({'filename_tmpl': 'x{}.pth'}, ['x_best.pth'], None),
        ({'filename_tmpl': 'newest.pth'}, ['newest.pth', 'epoch_11.pth'], 'runs/a/newest.pth'),
        ({'filename_tmpl': 'kept/[a]{}.pth'}, ['kept/[a]2.pth', 'kept/[a]10.pth'], 'runs/a/kept/[a]10.pth'),
    ],
    ids=['default', 'out_dir', 'filename_tmpl', 'another name', 'one name', 'folder'],
)
def test_the_newest_checkpoint_is_where_the_hook_saves(tmp_path, hook, names, newest):
    config = settings()
    config.work_dir = str(tmp_path / 'runs' / 'a')
    config.default_hooks.checkpoint = {key: value.replace('OUT', str(tmp_path / 'out')) for key, value in hook.items()}
    folder = checkpoint_folder(config)
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        torch.save({'meta': {'epoch': 4}}, folder / name)
    (folder / 'step_012.pth').write_bytes(b'cut off')
    found = newest_checkpoint(config)
    assert found == (None if newest is None else str(tmp_path / newest))
    assert found is None or 'kept' in found or lacks_validation(config, found)


@pytest.mark.parametrize('hook', [{}, {'filename_tmpl': 'step_{}.pth'}, {'out_dir': 'OUT'}], ids=str)
def test_checkpoints_of_an_earlier_run_in_the_folder_are_left_out(tmp_path, hook):
    """A run that began anew was stopped after two epochs; the earlier one had four."""
    config = settings()
    config.work_dir = str(tmp_path / 'run')
    config.default_hooks.checkpoint = {key: value.replace('OUT', str(tmp_path / 'out')) for key, value in hook.items()}
    folder = checkpoint_folder(config)
    folder.mkdir(parents=True)
    (tmp_path / 'run').mkdir(exist_ok=True)
    paths = [folder / hook.get('filename_tmpl', 'epoch_{}.pth').format(epoch) for epoch in (1, 2, 3, 4)]
    for path in paths:
        torch.save({}, path)
    marker = tmp_path / 'run' / 'last_checkpoint'
    for text, newest in (('', 4), (paths[3], 4), ('elsewhere/epoch_9.pth', 4), (paths[1], 2)):
        marker.write_text(str(text))
        for path, time in zip(paths, (30, 40, 10, 20)):
            os.utime(path, (time, time))
        assert newest_checkpoint(config) == str(paths[newest - 1])
    os.utime(paths[2], (50, 50))  # the process was killed before MMEngine noted it
    assert newest_checkpoint(config) == str(paths[2])


def test_the_folder_is_that_of_mmengines_hook(tmp_path, monkeypatch):
    """MMEngine compares ``out_dir`` with the absolute ``work_dir``: an equal relative path is another folder to it."""
    monkeypatch.chdir(tmp_path)
    for out_dir in ('runs/a', str(tmp_path / 'runs' / 'a'), 'disk', None):
        hook = CheckpointHook(out_dir=out_dir)
        hook.before_train(SimpleNamespace(work_dir=os.path.abspath('runs/a'), logger=logging.getLogger('tests')))
        config = settings()
        config.work_dir, config.default_hooks.checkpoint = 'runs/a', {'out_dir': out_dir}
        assert os.path.abspath(checkpoint_folder(config)) == os.path.abspath(hook.out_dir)


def test_remote_checkpoints_are_those_that_mmengine_noted(tmp_path):
    config = settings()
    config.work_dir = str(tmp_path)
    config.default_hooks.checkpoint = {'out_dir': 's3://bucket'}
    assert newest_checkpoint(config) is None
    (tmp_path / 'last_checkpoint').write_text('s3://bucket/a/epoch_2.pth')
    assert newest_checkpoint(config) == 's3://bucket/a/epoch_2.pth'
    assert not lacks_validation(config, 's3://bucket/a/epoch_2.pth')
