"""Distillers of class scores and relations in a segmentor of MMSegmentation, for two epochs of two batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.integration.unet_runs import run

pytest.importorskip('mmseg')

CLASSES = {'model.decode_head.num_classes': 4, 'model.decode_head.loss_decode': [{'type': 'CrossEntropyLoss'}]}
WEAK = {
    'type': 'FCNHead',
    'in_channels': 8,
    'in_index': 3,
    'channels': 4,
    'num_convs': 1,
    'num_classes': 4,
    'norm_cfg': {'type': 'BN'},
    'loss_decode': {'type': 'CrossEntropyLoss', 'loss_weight': 0.4},
}
SCORES = {'type': 'kd_plugins.LogitDistiller', 'logits': 'decode_head.conv_seg', 'activation': 'softmax'}
DISTILLERS: dict[str, dict[str, Any]] = {
    'dist': {**SCORES, 'divergence': 'dist'},
    'nkd': {**SCORES, 'divergence': 'nkd'},
    'dkd': {**SCORES, 'divergence': 'dkd', 'temperature': 2.0},
    'ssld': {**SCORES, 'symmetric': True},
    'cirkd': {'type': 'kd_plugins.RelationDistiller', 'student_tap': 'decode_head.convs.0', 'pairs': 'batch'},
    'trg': {'type': 'kd_plugins.RelationDistiller', 'student_tap': 'decode_head.convs.0', 'kind': 'context'},
    'uskd': {'type': 'kd_plugins.USKDDistiller'},
}


def options(names: list[str], teacher: dict[str, Any] | None) -> dict[str, Any]:
    entry = {'type': 'kd_plugins.DistillHook', 'distillers': {name: DISTILLERS[name] for name in names}}
    if teacher is not None:
        entry['teacher'] = teacher
    return {**CLASSES, 'model.auxiliary_head': WEAK, 'default_hooks.distill': entry}


def test_training(tmp_path: Path) -> None:
    """Every term is above 0, and the checkpoint is that of the plain segmentor."""
    teacher = {'type': 'kd_plugins.EMATeacher', 'momentum': 0.5}
    runner, recorder = run('unet_isbi', tmp_path / 'taught', options(list(DISTILLERS), teacher))
    names = {'cirkd': 'loss_relation', 'trg': 'loss_relation', 'uskd': 'loss_uskd'}
    last = recorder.losses[-1]
    for name in DISTILLERS:
        value = last[f'distill.{name}.{names.get(name, "loss_logit")}']
        assert torch.as_tensor(value).isfinite() and abs(float(value)) > 0, name
    plain, _ = run('unet_isbi', tmp_path / 'plain', {**CLASSES, 'model.auxiliary_head': WEAK})
    assert set(runner.model.state_dict()) == set(plain.model.state_dict())


def test_uskd_needs_no_teacher(tmp_path: Path) -> None:
    _, recorder = run('unet_isbi', tmp_path / 'own', options(['uskd'], None))
    assert all(float(step['distill.uskd.loss_uskd']) > 0 for step in recorder.losses)


def test_teachers_that_vote(tmp_path: Path) -> None:
    """The term is 0 until the last member is ready, that is until the first epoch is over."""
    average = {'type': 'kd_plugins.EMATeacher', 'momentum': 0.5}
    members = {'a': average, 'b': {**average, 'momentum': 0.1}, 'past': {'type': 'kd_plugins.SnapshotTeacher'}}
    votes = {**SCORES, 'source': list(members)}
    distillers = {
        'mean': {**votes, 'trust': 'agreement'},
        'majority': {**votes, 'vote': 'majority', 'target': 'hard'},
    }
    entry = {'type': 'kd_plugins.DistillHook', 'distillers': distillers, 'teachers': members}
    _, recorder = run('unet_isbi', tmp_path / 'votes', {**CLASSES, 'default_hooks.distill': entry})
    for name in distillers:
        values = [float(step[f'distill.{name}.loss_logit']) for step in recorder.losses]
        assert values[:2] == [0.0, 0.0] and min(values[2:]) > 0, name


def test_teacher_that_knows_other_classes(tmp_path: Path) -> None:
    """Two classes are shared, in the order of the data or in the other one."""
    losses = []
    for known in (['class_0', 'class_1', 'x', 'y'], ['class_1', 'class_0', 'x', 'y']):
        scores = {**SCORES, 'teacher_classes': known}
        teacher = {'type': 'kd_plugins.EMATeacher', 'momentum': 0.5}
        entry = {'type': 'kd_plugins.DistillHook', 'distillers': {'scores': scores}, 'teacher': teacher}
        _, recorder = run('unet_isbi', tmp_path / known[0], {**CLASSES, 'default_hooks.distill': entry})
        losses.append([float(step['distill.scores.loss_logit']) for step in recorder.losses])
    assert min(losses[0] + losses[1]) > 0 and losses[0][0] != losses[1][0]
