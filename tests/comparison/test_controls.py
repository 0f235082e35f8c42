"""Controls as configs: what they share with the baseline and the distilled config, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from kd_plugins.comparison.controls import (
    inherit,
    quality_loss,
    restart_on_labels,
)
from kd_plugins.config.loading import load_config
from kd_plugins.errors import ConfigError
from tests.comparison.control_configs import detector, teacher

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
QFL = {'type': 'QualityFocalLoss', 'beta': 2.0}
FOCAL = {'type': 'FocalLoss', 'alpha': 0.25}


def test_quality_loss_changes_the_class_loss_alone(tmp_path: Path) -> None:
    baseline, distilled = detector(FOCAL), detector(QFL, {'distillers': {}}, reg=33)
    made = quality_loss(baseline, distilled, tmp_path)
    assert made.config.model.bbox_head == {'type': 'Head', 'loss_cls': QFL, 'reg': 1}
    assert 'default_hooks' not in made.config and baseline.model.bbox_head.loss_cls == FOCAL
    assert 'QualityFocalLoss at model.bbox_head.loss_cls' in made.text and not made.remarks


@pytest.mark.parametrize(
    ('baseline', 'distilled', 'sentence'),
    [
        (FOCAL, FOCAL, 'its model has FocalLoss; valid: a loss_cls of type VFLLoss or MALLoss or QualityFocalLoss'),
        (QFL, QFL, 'the baseline has the same class loss, or none, at model.bbox_head.loss_cls'),
    ],
)
def test_without_a_quality_loss_there_is_no_control(
    baseline: dict[str, Any], distilled: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        quality_loss(detector(baseline), detector(distilled), tmp_path)


def test_a_head_without_a_loss_of_proposals_is_remarked(tmp_path: Path) -> None:
    made = quality_loss(detector(FOCAL), detector(QFL, loss_proposal_cls=FOCAL), tmp_path)
    assert made.remarks == ['Head has no loss of its own for proposals, as model.bbox_head.loss_proposal_cls is']


def test_the_control_of_dino_is_the_shipped_one(tmp_path: Path) -> None:
    pytest.importorskip('mmdet')
    plain, golsd, control = (
        load_config(str(CONFIGS / 'dfine' / f'dino_r18_bccd{name}.py')) for name in ('', '_golsd', '_quality-loss')
    )
    assert quality_loss(plain, golsd, tmp_path).config.model == control.model


@pytest.mark.parametrize(
    ('distill', 'found'),
    [
        ({'teacher': {'type': 'kd_plugins.EMATeacher'}}, 'EMATeacher'),
        ({'teacher': None}, 'no teacher'),
        ({'teacher': teacher(checkpoint=None)}, 'FrozenTeacher'),
        (None, 'no teacher'),
    ],
)
def test_without_a_finished_teacher_there_is_no_control(
    distill: dict[str, Any] | None, found: str, tmp_path: Path
) -> None:
    sentence = f'it has {found}; valid: a kd_plugins.FrozenTeacher with a checkpoint'
    with pytest.raises(ConfigError, match=sentence):
        inherit(detector(QFL), detector(QFL, distill), tmp_path)


def test_a_restart_on_labels_keeps_start_parts_and_budget(tmp_path: Path) -> None:
    hook = {
        'teacher': {'type': 'kd_plugins.FinishedTeacher'},
        'restart': {'parts': ['head'], 'seed': 3},
        'task_weight': 0.0,
        'distillers': {'simcc': {'type': 'kd_plugins.SimCCDistiller'}},
        'log_interval': 5,
    }
    distilled = detector(QFL, hook)
    distilled.load_from = 'stage1.pth'
    made = restart_on_labels(detector(QFL), distilled, tmp_path)
    assert made.config.default_hooks.distill == {
        'type': 'kd_plugins.DistillHook',
        'restart': {'parts': ['head'], 'seed': 3},
        'log_interval': 5,
        'distillers': {},
    }
    assert made.config.load_from == 'stage1.pth' and made.config.train_cfg == distilled.train_cfg
    with pytest.raises(ConfigError, match='it restarts nothing'):
        restart_on_labels(detector(QFL), detector(QFL, {'distillers': {}}), tmp_path)


def test_the_restart_of_dwpose_is_the_shipped_one(tmp_path: Path) -> None:
    pytest.importorskip('mmpose')
    stage2, shipped = (
        load_config(str(CONFIGS / 'dwpose' / f'dwpose_lite0-lite0_lspet_{name}.py')) for name in ('stage2', 'restart')
    )
    made = restart_on_labels(stage2, stage2, tmp_path).config
    for key in ('model', 'default_hooks', 'load_from', 'train_cfg', 'custom_hooks', 'param_scheduler'):
        assert made[key] == shipped[key], key


@pytest.fixture
def students(tmp_path: Path) -> tuple[Config, Config, dict[str, torch.Tensor]]:
    """A GFL, the same taught by one with a wider backbone, and the weights of the teacher."""
    pytest.importorskip('mmdet')
    from mmengine.registry import MODELS, DefaultScope

    from kd_plugins.testing import strip_pretrained

    baseline, big = (
        load_config(
            str(CONFIGS / 'gfl' / 'gfl_r18_digits.py'),
            {'model.backbone.base_channels': width, 'model.neck.in_channels': [width, 2 * width, 4 * width, 8 * width]},
        )
        for width in (8, 16)
    )
    list(strip_pretrained(baseline.model))
    with DefaultScope.overwrite_default_scope('mmdet'):
        weights = MODELS.build(big.model).state_dict()
    torch.save({'state_dict': weights}, tmp_path / 'big.pth')
    distilled = Config(dict(baseline._cfg_dict.to_dict()))
    distilled.default_hooks.distill = {
        'type': 'kd_plugins.DistillHook',
        'teacher': {'type': 'kd_plugins.FrozenTeacher', 'config': 'x.py', 'checkpoint': str(tmp_path / 'big.pth')},
        'distillers': {},
    }
    return baseline, distilled, weights


def test_a_student_inherits_what_fits_outside_the_backbone(
    students: tuple[Config, Config, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    baseline, distilled, weights = students
    made = inherit(baseline, distilled, tmp_path / 'configs')
    held = torch.load(made.config.load_from, weights_only=True)['state_dict']
    assert {name.split('.')[0] for name in held} == {'bbox_head', 'neck'}
    assert 'neck.fpn_convs.0.conv.weight' in held
    assert 'neck.lateral_convs.0.conv.weight' not in held  # its input is as wide as the backbone
    assert all(torch.equal(value, weights[name]) for name, value in held.items())
    assert held._metadata['bbox_head']['version'] == weights._metadata['bbox_head']['version']  # type: ignore[attr-defined]
    assert 'distill' not in made.config.default_hooks and not baseline.get('load_from')
    assert f'started with {len(held)} of its' in made.text
    again = inherit(baseline, distilled, tmp_path / 'configs')
    assert again.config.load_from == made.config.load_from and len(list((tmp_path / 'configs').iterdir())) == 1


def test_the_start_of_the_baseline_stays_where_nothing_is_inherited(
    students: tuple[Config, Config, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    baseline, distilled, weights = students
    start = {'backbone.conv1.weight': torch.ones(8, 3, 7, 7), 'neck.fpn_convs.0.conv.bias': torch.full((64,), 7.0)}
    torch.save({'state_dict': start}, tmp_path / 'start.pth')
    baseline.load_from = str(tmp_path / 'start.pth')
    held = torch.load(inherit(baseline, distilled, tmp_path).config.load_from, weights_only=True)['state_dict']
    assert torch.equal(held['backbone.conv1.weight'], start['backbone.conv1.weight'])
    assert torch.equal(held['neck.fpn_convs.0.conv.bias'], weights['neck.fpn_convs.0.conv.bias'])


def test_a_student_inherits_from_one_teacher(
    students: tuple[Config, Config, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    baseline, distilled, _ = students
    torch.save({'state_dict': {'other': torch.ones(1)}}, tmp_path / 'other.pth')
    distilled.default_hooks.distill.teacher.checkpoint = str(tmp_path / 'other.pth')
    with pytest.raises(ConfigError, match=r"no parameter of '.*other\.pth' outside the backbone fits the baseline"):
        inherit(baseline, distilled, tmp_path)
    distilled.default_hooks.distill = {'type': 'kd_plugins.DistillHook', 'teachers': {'a': teacher(), 'b': teacher()}}
    with pytest.raises(ConfigError, match=r'it has 2 frozen teachers \(teachers.a, teachers.b\)'):
        inherit(baseline, distilled, tmp_path)
