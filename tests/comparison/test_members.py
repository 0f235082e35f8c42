"""Members of a comparison, with written-out configs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from kd_plugins.comparison.members import BASELINE, CONTROL, DISTILLED, Member, make_controls, write_config
from kd_plugins.comparison.plan import make_arm
from kd_plugins.config.loading import load_config
from kd_plugins.errors import ConfigError

VFL, FOCAL = {'type': 'kd_plugins.VFLLoss'}, {'type': 'FocalLoss'}


def member(folder: Path, name: str, loss: dict[str, Any], kind: str = DISTILLED, **hook: Any) -> Member:
    values: dict[str, Any] = {
        'default_scope': 'mmengine',
        'model': {'type': 'A', 'head': {'type': 'Head', 'loss_cls': loss}},
        'train_cfg': {'max_epochs': 2},
        'val_cfg': {},
        'x': {'keypoint_info': {10: {}, 2: {}}},
    }
    if hook:
        values['default_hooks'] = {'distill': {'type': 'kd_plugins.DistillHook', 'distillers': {}, **hook}}
    path = folder / f'{name}.py'
    path.write_text(''.join(f'{key} = {value!r}\n' for key, value in values.items()))
    config = load_config(str(path))
    return Member(make_arm(str(path), config), config, kind)


def test_a_control_is_an_arm_with_a_config_of_its_own(tmp_path: Path) -> None:
    members = [member(tmp_path, 'plain', FOCAL, BASELINE), member(tmp_path, 'taught', VFL, teacher=None)]
    (control,), remarks = make_controls(members, ['quality-loss', 'quality-loss'], tmp_path / 'runs')
    assert control.arm.name == 'plain_quality-loss' and control.kind == CONTROL and not remarks
    assert (
        control.arm.path == str(tmp_path / 'runs' / 'configs' / 'plain_quality-loss.py') and control.arm.options == ()
    )
    assert Config.fromfile(control.arm.path).model.head.loss_cls == VFL
    again, _ = make_controls(members, ['quality-loss'], tmp_path / 'runs')
    assert again[0].arm == control.arm  # the hash of the settings is the same, so its runs are kept
    assert control.arm.fingerprint not in {one.arm.fingerprint for one in members}


def test_a_control_is_made_for_every_config_that_it_fits(tmp_path: Path) -> None:
    members = [
        member(tmp_path, 'plain', FOCAL, BASELINE),
        member(tmp_path, 'first', VFL),
        member(tmp_path, 'same', VFL),
        member(tmp_path, 'other', {'type': 'QualityFocalLoss'}),
        member(tmp_path, 'second_stage', FOCAL, restart={'parts': ['head']}),
    ]
    made, remarks = make_controls(members, ['quality-loss', 'restart-on-labels'], tmp_path / 'runs')
    assert [one.arm.name for one in made] == [
        'plain_quality-loss',
        'plain_quality-loss_other',
        'second_stage_restart-on-labels',
    ]
    assert len(remarks) == 4 and remarks[0].startswith("--control quality-loss does not fit '")
    assert 'second_stage.py' in remarks[0] and 'its model has FocalLoss' in remarks[0]


def test_a_control_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    members = [member(tmp_path, 'plain', FOCAL, BASELINE), member(tmp_path, 'taught', FOCAL, teacher=None)]
    with pytest.raises(ConfigError, match="--control random-teacher does not fit '.*taught.py': it has no teacher"):
        make_controls(members, ['random-teacher'], tmp_path / 'runs')


def test_an_equal_config_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / 'configs' / 'a.py'
    write_config(Config({'a': 1}), path)
    before = path.stat().st_mtime_ns
    write_config(Config({'a': 1}), path)
    assert path.stat().st_mtime_ns == before
    write_config(Config({'a': 2}), path)
    assert Config.fromfile(str(path)).a == 2
