"""Heads above a tap, factors of logits, and weights of joints."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from kd_plugins.distillers import Batch
from kd_plugins.distillers.keypoint.base import KeypointDistiller, head_above, with_student_beta
from kd_plugins.distillers.paired import TapPair
from kd_plugins.errors import ConfigError
from tests.distillers.keypoint.estimators import JOINTS, WEIGHT, labelled

PAIR = TapPair.of('keypoints', 'head.final', 'teacher_keypoints', None)
LIKE = torch.zeros(2, JOINTS, 8)


def made(visible_only: bool = True, reduction: str = 'task') -> KeypointDistiller:
    return KeypointDistiller([PAIR], visible_only, reduction, 1.0, 'auto', 'distillers.pose')


def network(*levels: str) -> nn.Module:
    """A head with ``loss_module`` above its last layer, inside further modules."""
    model = nn.Module()
    node = model
    for level in levels:
        node.add_module(level, nn.Module())
        node = node.get_submodule(level)
    node.final = nn.Linear(2, 2)
    node.loss_module = nn.Identity()
    return model


def test_the_nearest_module_with_a_loss_is_the_head() -> None:
    plain, nested = network('head'), network('head', 'pose_head')
    assert head_above(plain, 'head.final', 'k', 'student') is plain.head
    assert head_above(nested, 'head.pose_head.final', 'k', 'student') is nested.head.pose_head
    assert head_above(nn.ModuleDict({'final': nn.Linear(1, 1)}), 'final', 'k', 'student') is None
    with pytest.raises(ConfigError, match="distillers.pose.keypoints: 'head.finl' names no module of the teacher"):
        head_above(plain, 'head.finl', 'distillers.pose.keypoints', 'teacher')


def test_heads_of_both_networks() -> None:
    student, teacher = network('head'), network('head')
    assert made().heads(student, teacher) == (student.head, teacher.head)


def test_factors_give_the_teachers_own_distribution() -> None:
    logits = torch.randn(2, 3, 8)
    scaled = with_student_beta(logits, beta=10.0, teacher_beta=4.0)
    torch.testing.assert_close((10.0 * scaled).softmax(-1), (4.0 * logits).softmax(-1))
    assert with_student_beta(logits, 10.0, 10.0) is logits


def test_joints_weigh_what_the_task_says() -> None:
    assert torch.equal(made().joint_weights(labelled(WEIGHT), LIKE), WEIGHT)
    assert made(visible_only=False).joint_weights(labelled(WEIGHT), LIKE) is None


def test_several_persons_of_an_image_are_rows_of_their_own() -> None:
    sample = SimpleNamespace(gt_instance_labels=SimpleNamespace(keypoint_weights=WEIGHT))
    assert torch.equal(made().joint_weights(Batch(torch.zeros(1), [sample]), LIKE), WEIGHT)


def test_of_several_levels_the_largest_weight_counts() -> None:
    levels = torch.stack([WEIGHT[:1], 1 - WEIGHT[:1]])
    sample = SimpleNamespace(gt_instance_labels=SimpleNamespace(keypoint_weights=levels))
    weights = made().joint_weights(Batch(torch.zeros(1), [sample]), LIKE[:1])
    assert torch.equal(weights, torch.tensor([[1.0, 1.0, 1.0, 0.5, 1.0]]))


def test_no_person_has_no_row() -> None:
    assert made().joint_weights(Batch(torch.zeros(0, 3), []), LIKE[:0]).shape == (0, JOINTS)


@pytest.mark.parametrize('weight', [None, WEIGHT[:, :3], WEIGHT[:1]], ids=['none', 'other joints', 'too few persons'])
def test_weights_that_do_not_fit(weight: Any) -> None:
    with pytest.raises(ConfigError, match=r'visible_only is True, and .* of shape \(2, 5\); use visible_only=False'):
        made().joint_weights(labelled(weight), LIKE)


def test_other_sentences() -> None:
    with pytest.raises(ConfigError, match="distillers.pose.reduction is 'sum'; valid: 'task', 'mean'"):
        made(reduction='sum')
    with pytest.raises(ConfigError, match='keypoints: the teacher predicts 17 keypoints where the student predicts 5'):
        made().check_joints(PAIR, 5, 17)
    made().check_joints(PAIR, 5, 5)
