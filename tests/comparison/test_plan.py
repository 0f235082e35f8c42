import hashlib
import json
import sys

import pytest
import torch
from mmengine.config import Config

from kd_plugins.comparison.plan import (
    FINGERPRINT,
    Arm,
    check_fingerprint,
    final_step,
    make_arm,
    plan_runs,
    train_command,
    write_record,
)
from kd_plugins.errors import ConfigError

ARMS = [Arm('plain', 'plain.py', 3), Arm('taught', 'taught.py', 3)]


def validate(folder, *steps):
    path = folder / '20260101_000000' / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps({'coco/bbox_mAP': 0.1, 'step': step}) + '\n' for step in steps))


def states(root):
    return {(run.arm.name, run.seed): run.state for run in plan_runs(ARMS, [0, 1], root)}


def test_finished_runs_are_kept_interrupted_ones_resumed(tmp_path):
    validate(tmp_path / 'plain' / 'seed_0', 1, 2, 3)
    validate(tmp_path / 'plain' / 'seed_1', 1, 2)
    torch.save({'state_dict': {}}, tmp_path / 'plain' / 'seed_1' / 'epoch_2.pth')
    assert states(tmp_path) == {
        ('plain', 0): 'finished',
        ('taught', 0): 'new',
        ('plain', 1): 'resume',
        ('taught', 1): 'new',
    }


def test_a_truncated_checkpoint_alone_means_a_new_start(tmp_path):
    folder = tmp_path / 'plain' / 'seed_0'
    folder.mkdir(parents=True)
    (folder / 'epoch_1.pth').write_bytes(b'PK\x03\x04 cut off')
    assert states(tmp_path)['plain', 0] == 'new'


def test_pairs_of_a_seed_come_together():
    runs = plan_runs(ARMS, [4, 5], 'nowhere')
    assert [(run.seed, run.arm.name) for run in runs] == [(4, 'plain'), (4, 'taught'), (5, 'plain'), (5, 'taught')]


def test_the_command_resumes_only_where_there_is_something_to_resume(tmp_path):
    folder = tmp_path / 'plain' / 'seed_0'
    folder.mkdir(parents=True)
    torch.save({'state_dict': {}}, folder / 'epoch_1.pth')
    resumed, new = plan_runs(ARMS, [0], tmp_path)
    command = train_command(resumed, ['a=1'])
    assert command == [
        sys.executable, '-m', 'kd_plugins', 'train', 'plain.py', '--work-dir', str(folder), '--resume', '--cfg-options',
        'a=1', 'randomness.seed=0',
    ]  # fmt: skip
    assert '--resume' not in train_command(new, [])


def test_a_folder_of_other_settings_is_refused(tmp_path):
    config = Config({'train_cfg': {'max_epochs': 3}, 'val_cfg': {}, 'x': 1})
    config.val_cfg = {'type': 'ValLoop'}
    arm = make_arm('a.py', config)
    check_fingerprint(tmp_path, arm)
    write_record(tmp_path, arm)
    check_fingerprint(tmp_path, arm)
    config.x = 2
    with pytest.raises(ConfigError, match='other settings'):
        check_fingerprint(tmp_path, make_arm('a.py', config))


def test_a_folder_whose_record_was_made_by_an_earlier_version_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr('mmengine.config.config.FormatCode', lambda text, **style: (f'{text} laid out', True))
    config = Config({'train_cfg': {'max_epochs': 3}, 'val_cfg': {'type': 'ValLoop'}, 'x': 1})
    before = hashlib.sha256(config.pretty_text.encode()).hexdigest()[:16]
    (tmp_path / FINGERPRINT).write_text(json.dumps({'config': 'a.py', 'fingerprint': before}))
    check_fingerprint(tmp_path, make_arm('a.py', config))
    config.x = 2
    with pytest.raises(ConfigError, match='other settings'):
        check_fingerprint(tmp_path, make_arm('a.py', config))


def test_a_changed_environment_variable_is_named_among_the_settings(tmp_path, monkeypatch):
    path = tmp_path / 'a.py'
    path.write_text("train_cfg = dict(max_epochs=3)\nval_cfg = dict()\nroot = '{{$CELLS_ROOT:data}}'\n")
    write_record(tmp_path, make_arm('a.py', Config.fromfile(path)))
    monkeypatch.setenv('CELLS_ROOT', 'elsewhere')
    with pytest.raises(ConfigError, match=r'with other settings \(the environment variables CELLS_ROOT count\)'):
        check_fingerprint(tmp_path, make_arm('a.py', Config.fromfile(path)))


def test_a_record_cut_off_by_a_kill_is_one_sentence(tmp_path):
    (tmp_path / FINGERPRINT).write_text('{"config": "a.p')
    with pytest.raises(ConfigError, match=r"comparison\.json' is damaged .*remove that folder"):
        check_fingerprint(tmp_path, ARMS[0])


def test_a_run_that_stopped_early_is_finished_and_a_killed_one_is_not(tmp_path):
    folder = tmp_path / 'plain' / 'seed_0'
    validate(folder, 1, 2)
    write_record(folder, ARMS[0])
    assert states(tmp_path)['plain', 0] == 'resume'
    write_record(folder, ARMS[0], ended=True)
    assert states(tmp_path)['plain', 0] == 'finished'


def test_arms_and_seeds_must_differ():
    with pytest.raises(ConfigError, match='both named'):
        plan_runs([ARMS[0], ARMS[0]], [0], 'x')
    with pytest.raises(ConfigError, match='repeats a seed'):
        plan_runs(ARMS, [0, 0], 'x')


def test_a_config_without_validation_cannot_be_compared():
    with pytest.raises(ConfigError, match='val_cfg is missing'):
        final_step(Config({'train_cfg': {'max_epochs': 3}}))
    assert final_step(Config({'train_cfg': {'max_iters': 7}, 'val_cfg': {'type': 'ValLoop'}})) == 7
    # An empty dict, as in MMPose, is MMEngine's default loop.
    assert final_step(Config({'train_cfg': {'max_iters': 7}, 'val_cfg': {}})) == 7


def test_checkpoints_of_another_place_or_name(tmp_path):
    config = Config(
        {'train_cfg': {'max_epochs': 3}, 'val_cfg': {}, 'default_hooks': {'checkpoint': {'out_dir': 'big'}}}
    )
    with pytest.raises(ConfigError, match="out_dir is 'big', where the arms would overwrite each other's checkpoints"):
        make_arm('a.py', config)
    config.default_hooks.checkpoint = {'filename_tmpl': 'step_{:03d}.pth'}
    folder = tmp_path / 'a' / 'seed_0'
    folder.mkdir(parents=True)
    torch.save({'state_dict': {}}, folder / 'step_002.pth')
    (run,) = plan_runs([make_arm('a.py', config)], [0], tmp_path)
    assert run.state == 'resume'
