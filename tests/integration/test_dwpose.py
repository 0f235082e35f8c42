"""Both stages of DWPose, compared with one step of MMPose's ``DWPoseDistiller``."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn

pytest.importorskip('mmpose')

from mmengine.logging import MessageHub
from mmengine.registry import MODELS, DefaultScope
from mmpose.registry import MODELS as MMPOSE_MODELS
from mmpose.testing import get_packed_inputs

import kd_plugins  # noqa: F401
from kd_plugins.distillers import FeatureDistiller, SimCCDistiller
from kd_plugins.hooks.restart import Restart
from kd_plugins.hooks.session import DistillSession
from kd_plugins.hooks.task_weights import TaskWeights
from kd_plugins.teachers import FinishedTeacher, FrozenTeacher

SIZE = (64, 96)
JOINTS = 17


def model_config(width: float) -> dict[str, Any]:
    """Return RTMPose with a narrow CSPNeXt."""
    return {
        'type': 'mmpose.TopdownPoseEstimator',
        'data_preprocessor': {'type': 'mmpose.PoseDataPreprocessor', 'mean': [120.0] * 3, 'std': [60.0] * 3},
        'backbone': {
            'type': 'mmdet.CSPNeXt',
            'deepen_factor': 0.167,
            'widen_factor': width,
            'out_indices': (4,),
            'norm_cfg': {'type': 'BN'},
        },
        'head': {
            'type': 'mmpose.RTMCCHead',
            'in_channels': int(1024 * width),
            'out_channels': JOINTS,
            'input_size': SIZE,
            'in_featuremap_size': (SIZE[0] // 32, SIZE[1] // 32),
            'simcc_split_ratio': 2.0,
            'final_layer_kernel_size': 3,
            'gau_cfg': {
                'hidden_dims': 32,
                's': 16,
                'expansion_factor': 2,
                'dropout_rate': 0.0,
                'drop_path': 0.0,
                'act_fn': 'SiLU',
                'use_rel_bias': False,
                'pos_enc': False,
            },
            'loss': {'type': 'KLDiscretLoss', 'use_target_weight': True, 'beta': 10.0, 'label_softmax': True},
            'decoder': {
                'type': 'SimCCLabel',
                'input_size': SIZE,
                'sigma': (4.9, 5.66),
                'simcc_split_ratio': 2.0,
                'normalize': False,
                'use_dark': False,
            },
        },
    }


@pytest.fixture(autouse=True)
def scope() -> Iterator[None]:
    """MMPose looks its parts up in the default scope."""
    with DefaultScope.overwrite_default_scope('mmpose'):
        yield


@pytest.fixture
def batch() -> dict[str, Any]:
    torch.manual_seed(0)
    packed = get_packed_inputs(
        4, num_keypoints=JOINTS, img_shape=(SIZE[1], SIZE[0]), input_size=SIZE, simcc_split_ratio=2.0
    )
    data: dict[str, Any] = MODELS.build(model_config(0.125)['data_preprocessor'])(packed, training=True)
    return data


def build(width: float, seed: int) -> nn.Module:
    """Return a model whose batch statistics differ from their start."""
    torch.manual_seed(seed)
    model: nn.Module = MODELS.build(model_config(width))
    model.train()
    model(torch.randn(8, 3, SIZE[1], SIZE[0]), None, mode='tensor')
    return model


def released(folder: Path, student: nn.Module, teacher: nn.Module, widths: tuple[float, float], stage: int) -> Any:
    """Return MMPose's distiller with the given weights."""
    for name, width in zip(('student', 'teacher'), widths):
        Config({'model': model_config(width)}).dump(folder / f'{name}.py')
    channels = {'student_channels': int(1024 * widths[0]), 'teacher_channels': int(1024 * widths[1])}
    logit = {'type': 'KDLoss', 'name': 'loss_logit', 'use_this': True, 'weight': 0.1 if stage == 1 else 1.0}
    feature = {'type': 'FeaLoss', 'name': 'loss_fea', 'use_this': True, 'alpha_fea': 7e-5, **channels}
    config = {
        'type': 'mmpose.DWPoseDistiller',
        'teacher_cfg': str(folder / 'teacher.py'),
        'student_cfg': str(folder / 'student.py'),
        'two_dis': stage == 2,
        'distill_cfg': Config({'x': [{'methods': [feature] if stage == 1 else []}, {'methods': [logit]}]}).x,
    }
    model = MMPOSE_MODELS.build(config)
    model.student.load_state_dict(student.state_dict())
    model.teacher.load_state_dict(teacher.state_dict())
    hub = MessageHub.get_current_instance()
    hub.update_info('epoch', 3)
    hub.update_info('max_epochs', 12)
    return model


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: param.grad for name, param in module.named_parameters() if param.grad is not None}


def assert_same_gradients(student: nn.Module, reference: nn.Module) -> None:
    actual, expected = gradients(student), gradients(reference)
    assert actual.keys() == expected.keys() and actual
    for name, value in expected.items():
        assert (actual[name] - value).norm() <= 1e-4 * value.norm() + 1e-7, name


def test_a_step_of_the_first_stage(tmp_path: Path, batch: dict[str, Any]) -> None:
    widths = (0.125, 0.25)
    student, teacher = build(widths[0], 1), build(widths[1], 2)
    reference = released(tmp_path, student, teacher, widths, stage=1)
    torch.save({'state_dict': teacher.state_dict()}, tmp_path / 'teacher.pth')
    frozen = FrozenTeacher({'model': model_config(widths[1])}, str(tmp_path / 'teacher.pth'))
    frozen.prepare(student)
    decay = {'type': 'kd_plugins.LinearDecay', 'by_epoch': True}
    members = {
        'simcc': SimCCDistiller(reduction='reference', weight={**decay, 'value': 0.1}),
        'feature': FeatureDistiller('backbone', reduction='sum', weight={**decay, 'value': 7e-5}),
    }

    def copy_adapter_weights() -> None:
        projection, align = members['feature'].adapters[0].projection, reference.distill_losses['loss_fea'].align
        projection.weight.data.copy_(align.weight[:, :, 0, 0])
        projection.bias.data.copy_(align.bias)

    session = DistillSession(student, members, {'teacher': frozen}, copy_adapter_weights)
    # The first iteration of epoch 3 of 12, where the released weight is 1 - 3 / 12.
    session.weights = {name: member.schedule(30, 120, 10) for name, member in members.items()}
    student.train()
    losses = student(**copy.deepcopy(batch), mode='loss')
    session.detach()
    reference.train()
    reference.teacher.eval()  # MMPose leaves the teacher in train mode, see the last test
    expected = reference(**copy.deepcopy(batch), mode='loss')
    for key, name in (
        ('loss_kpt',) * 2,
        ('distill.simcc.loss_kpt', 'loss_logit'),
        ('distill.feature.loss_feat', 'loss_fea'),
    ):
        torch.testing.assert_close(losses[key], expected[name], rtol=1e-5, atol=1e-7)
    for values in (losses, expected):
        sum(value for name, value in values.items() if 'loss' in name).backward()
    assert_same_gradients(student, reference.student)
    projection = members['feature'].adapters[0].projection
    align = reference.distill_losses['loss_fea'].align
    torch.testing.assert_close(projection.weight.grad, align.weight.grad[:, :, 0, 0], rtol=1e-4, atol=1e-6)


def test_a_step_of_the_second_stage(tmp_path: Path, batch: dict[str, Any]) -> None:
    finished, fresh = build(0.125, 1), build(0.125, 2)
    reference = released(tmp_path, fresh, finished, (0.125, 0.125), stage=2)
    student = copy.deepcopy(finished)
    restart, teacher = Restart(['head']), FinishedTeacher()
    teacher.frozen = restart.freeze(student)
    teacher.prepare(student)
    student.head.load_state_dict(fresh.head.state_dict())
    teachers = {'teacher': teacher}
    session = DistillSession(student, {'simcc': SimCCDistiller(reduction='reference')}, teachers, lambda: None)
    session.weights['simcc'], session.task_weights = 1.0, TaskWeights(0.0)
    student.train()
    restart.hold()
    losses = student(**copy.deepcopy(batch), mode='loss')
    reference.train()
    reference.teacher.eval()
    expected = reference(**copy.deepcopy(batch), mode='loss')
    torch.testing.assert_close(losses['distill.simcc.loss_kpt'], expected['loss_logit'], rtol=1e-5, atol=1e-7)
    for values in (losses, expected):
        sum(value for name, value in values.items() if 'loss' in name).backward()
    assert_same_gradients(student.head, reference.student.head)
    assert not gradients(student.backbone)
    session.detach()
    restart.release()
    assert all(param.requires_grad for param in student.parameters())


def test_the_teacher_of_the_release_changes_and_this_one_does_not(tmp_path: Path, batch: dict[str, Any]) -> None:
    """MMEngine's loop calls ``model.train()``, which reaches the teacher inside MMPose's distiller."""
    finished = build(0.125, 1)
    before = {name: value.clone() for name, value in finished.state_dict().items()}
    reference = released(tmp_path, finished, finished, (0.125, 0.125), stage=2)
    reference.train()
    reference(**copy.deepcopy(batch), mode='loss')
    assert any(not torch.equal(value, before[name]) for name, value in reference.teacher.state_dict().items())
    restart, teacher = Restart(['head']), FinishedTeacher()
    teacher.frozen = restart.freeze(finished)
    teacher.prepare(finished)
    session = DistillSession(finished, {'simcc': SimCCDistiller()}, {'teacher': teacher}, lambda: None)
    session.weights['simcc'] = 1.0
    finished.train()
    restart.hold()
    finished(**copy.deepcopy(batch), mode='loss')
    session.detach()
    assert all(torch.equal(value, before[name]) for name, value in teacher.model.state_dict().items())
