"""Wrong configs: one error sentence before the first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.errors import KDPluginsError
from kd_plugins.hooks import DistillHook
from kd_plugins.utils.safe_load import load_safely

from .runs import CLASSES, EMA, FEATURE, LD, Recorder, make_runner, model_config

FEAT_EMA = {'type': 'kd_plugins.FeatureDistiller', 'student_tap': 'neck.fpn_convs.*'}
LOGIT = {'type': 'kd_plugins.LogitDistiller', 'logits': 'bbox_head.gfl_cls'}


def wider_teacher() -> dict[str, Any]:
    return {'type': 'kd_plugins.FrozenTeacher', 'config': {'model': model_config(channels=16)}, 'checkpoint': None}


def teacher_with_head(**changes: Any) -> dict[str, Any]:
    model = model_config()
    model['bbox_head'].update(changes)
    return {'type': 'kd_plugins.FrozenTeacher', 'config': {'model': model}, 'checkpoint': None}


@pytest.mark.parametrize(
    ('distiller', 'teacher', 'sentence'),
    [
        (
            {**LD, 'head': 'bbox_hed'},
            EMA,
            r"distillers.one.head: 'bbox_hed' names no module of the student; nearest: 'bbox_head'",
        ),
        (
            {**LD, 'head': 'neck'},
            EMA,
            r"distillers.one.head: 'neck' of the student is FPN, which predicts no distribution",
        ),
        (
            {**FEATURE, 'student_tap': 'backbone.layer9'},
            None,
            r"'backbone.layer9' names no module of the student; nearest: 'backbone.layer",
        ),
        (
            {**FEATURE, 'student_tap': 'bbox_head.loss_cls', 'teacher_tap': 'bbox_head.integral'},
            None,
            r'distillers.one',
        ),
        (LD, teacher_with_head(reg_max=7), r'distillers.one.*reg_max=8 and .*reg_max=7'),
        (LOGIT, teacher_with_head(num_classes=80), r'distillers.one.*80 classes where the student predicts 2'),
        ({**FEATURE, 'adapter': None}, None, r'distillers.one.*adapter'),
        ({**FEATURE, 'resize': None}, None, r"distillers.one.*resize='bilinear'"),
        (
            {**FEATURE, 'adapter': {'type': 'kd_plugins.PointwiseAdapter', 'out_channels': 5}},
            None,
            r'distillers.one.*5.*32',
        ),
        (LD, None, r'distillers.one.*teacher'),
        (
            {**LD, 'source': 'teacher'},
            None,
            r"distillers.one.source is 'teacher', but default_hooks.distill.teacher is None",
        ),
        (
            {**LD, 'temprature': 2},
            EMA,
            r"distillers.one: LocalizationDistiller has no argument 'temprature'; nearest: 'temperature'",
        ),
        ({**LD, 'temperature': -2}, EMA, r'distillers.one.temperature.*-2'),
        (
            {**LD, 'type': 'kd_plugins.LocalisationDistiller'},
            EMA,
            r"distillers.one.type .*nearest: 'kd_plugins.LocalizationDistiller'",
        ),
        (
            LD,
            {'type': 'kd_plugins.EmaTeacher'},
            r"teacher.type is 'kd_plugins.EmaTeacher', .*nearest: 'kd_plugins.EMATeacher'",
        ),
        ({'weight': 1.0}, EMA, r"distillers.one is .* give a dict with 'type'"),
        (LD, {**EMA, 'mode': 'extract_feat'}, r"'bbox_head.scales.0' exists in the teacher but never ran"),
    ],
)
def test_sentence_before_the_first_step(tmp_path: Path, distiller: Any, teacher: Any, sentence: str) -> None:
    recorder = Recorder()
    with pytest.raises(KDPluginsError, match=sentence) as caught:
        make_runner(tmp_path / 'run', {'one': distiller}, teacher, epochs=1, hooks=[recorder]).train()
    assert not recorder.losses
    assert '\n' not in str(caught.value)


def test_adapters_bridge_a_wider_teacher(tmp_path: Path) -> None:
    recorder = Recorder()
    config = {'type': 'kd_plugins.FeatureDistiller', 'student_tap': 'backbone.layer3'}
    make_runner(tmp_path / 'run', {'one': config}, wider_teacher(), epochs=1, hooks=[recorder]).train()
    assert recorder.losses[0]['distill.one.loss_feat'] > 0


def test_other_class_names_are_refused(tmp_path: Path) -> None:
    make_runner(tmp_path / 'source', epochs=1).train()
    path = tmp_path / 'source' / 'epoch_1.pth'
    checkpoint = load_safely(path)
    checkpoint['meta']['dataset_meta'] = {'classes': tuple(reversed(CLASSES))}
    torch.save(checkpoint, path)
    teacher = {'type': 'kd_plugins.FrozenTeacher', 'config': {'model': model_config()}, 'checkpoint': str(path)}
    with pytest.raises(
        KDPluginsError, match=r"2 classes \('bar', 'square'\) where train_dataloader.dataset has 2 classes"
    ):
        make_runner(tmp_path / 'run', {'one': LOGIT}, teacher, epochs=1).train()


def test_resume_with_other_adapters_is_refused(tmp_path: Path) -> None:
    make_runner(tmp_path / 'run', {'feature': FEATURE}, epochs=1).train()
    with pytest.raises(KDPluginsError, match='resumed checkpoint holds other adapters'):
        make_runner(tmp_path / 'run', {'renamed': FEATURE}, epochs=2, resume=True).train()


def test_distillers_must_be_a_dict_and_none_switches_off() -> None:
    with pytest.raises(KDPluginsError, match=r'default_hooks.distill.distillers is list'):
        DistillHook([LD])  # type: ignore[arg-type]
    with pytest.raises(KDPluginsError, match=r"the name 'a.b' contains a dot; use 'a_b'"):
        DistillHook({'a.b': LD}, EMA)
    assert list(DistillHook({'a': LD, 'b': None}, EMA).distillers) == ['a']


@pytest.mark.slow
def test_config_without_custom_imports_finds_everything() -> None:
    import subprocess
    import sys

    code = (
        'from mmengine.registry import HOOKS; '
        "h = HOOKS.build(dict(type='kd_plugins.DistillHook', teacher=dict(type='kd_plugins.EMATeacher'), "
        "distillers=dict(a=dict(type='kd_plugins.LocalizationDistiller')))); print(type(h).__name__)"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip().endswith('DistillHook'), done.stderr
