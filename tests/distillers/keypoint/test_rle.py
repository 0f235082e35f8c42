from __future__ import annotations

import pytest
import torch
from torch.distributions import Laplace, kl_divergence

from kd_plugins.distillers import RLEDistiller
from kd_plugins.registry import MODELS
from tests.distillers.common import check_step, sentence
from tests.distillers.keypoint.estimators import JOINTS, WEIGHT, distilled, estimator, labelled

HEAD = {'type': 'RLEHead', 'num_joints': JOINTS, 'loss': {'type': 'RLELoss', 'use_target_weight': True}}


def taps(images: int = 2, joints: int = JOINTS) -> tuple[dict, dict]:
    student, teacher = torch.randn(2, images, 4 * joints)
    return {'regression': [student]}, {'teacher_regression': [teacher]}


def by_torch(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Divergence of every joint, shape (N, K)."""
    student_outputs, teacher_outputs = (x.detach().double().reshape(len(x), -1, 4) for x in (student, teacher))
    p, q = (Laplace(x[..., :2], x[..., 2:].sigmoid()) for x in (teacher_outputs, student_outputs))
    return kl_divergence(p, q).sum(dim=-1)


@pytest.mark.parametrize('visible_only', [False, True])
@pytest.mark.parametrize('reduction', ['task', 'mean'])
def test_value(reduction: str, visible_only: bool) -> None:
    distiller = RLEDistiller(reduction=reduction, visible_only=visible_only)
    student, teacher = taps()
    distiller.initialize(student, teacher)
    actual = check_step(distiller, student, teacher, labelled(WEIGHT))['loss_kpt']
    joints = by_torch(student['regression'][0], teacher['teacher_regression'][0]) * (WEIGHT if visible_only else 1.0)
    expected = joints.sum(dim=1).mean() if reduction == 'task' else joints.mean()
    torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('times', [1, 4])
def test_ratio_to_the_task_loss(times: int) -> None:
    """Both are sums over joints and means over images: the ratio is the same in any batch."""
    losses = pytest.importorskip('mmpose.models.losses')
    torch.manual_seed(0)
    task = losses.RLELoss(use_target_weight=True)
    outputs, teacher = torch.randn(2, 2, 4 * JOINTS)
    truth = torch.rand(2, JOINTS, 2)

    def ratio(n: int) -> torch.Tensor:
        repeated, taught_by, target = (x.repeat(n, *[1] * (x.ndim - 1)) for x in (outputs, teacher, truth))
        joints = repeated.reshape(-1, JOINTS, 4)
        whole = task(joints[..., :2], joints[..., 2:], target, WEIGHT.repeat(n, 1)[..., None])
        actual = RLEDistiller()({'regression': [repeated]}, {'teacher_regression': [taught_by]}, labelled(None))
        return (actual['loss_kpt'] / whole).detach()

    torch.testing.assert_close(ratio(times), ratio(1))


@pytest.mark.parametrize('visible_only', [False, True])
def test_no_image_and_no_visible_joint(visible_only: bool) -> None:
    distiller = RLEDistiller(visible_only=visible_only)
    assert check_step(distiller, *taps(images=0), labelled(WEIGHT[:0]))['loss_kpt'] == 0
    actual = check_step(distiller, *taps(), labelled(torch.zeros(2, JOINTS)))['loss_kpt']
    assert (actual == 0) == visible_only


def test_certain_networks_stay_finite() -> None:
    student, teacher = taps()
    for outputs in (student['regression'], teacher['teacher_regression']):
        outputs[0].unflatten(1, (-1, 4))[..., 2:] = -200.0
    assert check_step(RLEDistiller(), student, teacher, labelled(None))['loss_kpt'] > 1e3


def test_head_of_mmpose() -> None:
    student = estimator(HEAD, neck='GlobalAveragePooling')
    losses = distilled(student, {'type': 'kd_plugins.RLEDistiller', 'visible_only': True})
    assert losses['distill.pose.loss_kpt'] > 0
    # Rows of the layer: x, y and their spreads, joint after joint; all of them learn.
    assert (student.head.fc.weight.grad.abs().sum(dim=1) > 0).all()


def test_config_sentences() -> None:
    with sentence("reduction is 'reference'; valid: 'task', 'mean'"):
        RLEDistiller(reduction='reference')
    model = torch.nn.Identity()
    with sentence("regression: 'head.fc' would teach itself; .* or set teacher_regression to"):
        RLEDistiller().check_models(model, model)
    with sentence("'head.fc' names no module of the student"):
        RLEDistiller().check_models(torch.nn.Identity(), model)


def test_sentences_about_heads() -> None:
    student = estimator(HEAD, neck='GlobalAveragePooling')
    plain = estimator({'type': 'RegressionHead', 'num_joints': JOINTS}, neck='GlobalAveragePooling')
    with sentence("'head.fc' of the student belongs to RegressionHead with SmoothL1Loss, which predicts no spread"):
        RLEDistiller().check_models(plain, student)
    with sentence("'backbone.conv1' of the teacher belongs to no head, which predicts no spread"):
        RLEDistiller(teacher_regression='backbone.conv1').check_models(student, plain)
    gauss = {**HEAD, 'loss': {'type': 'RLELoss', 'q_distribution': 'gaussian'}}
    with sentence("RLELoss of the teacher has q_distribution='gaussian', .*; use q_distribution='laplace'"):
        RLEDistiller().check_models(student, estimator(gauss, neck='GlobalAveragePooling'))


def test_shape_sentences() -> None:
    distiller = MODELS.build({'type': 'kd_plugins.RLEDistiller', 'key': 'distillers.pose'})
    student, _ = taps()
    with sentence('distillers.pose.regression: the teacher predicts 17 keypoints where the student predicts 5'):
        distiller.initialize(student, taps(joints=17)[1])
    with sentence(r"pose.regression: 'head.fc' gives shapes \[\(2, 6\)\]; .* as 'head.fc' of RLEHead does"):
        distiller.initialize({'regression': [torch.zeros(2, 6)]}, taps()[1])
