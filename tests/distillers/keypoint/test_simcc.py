from __future__ import annotations

import pytest
import torch

from kd_plugins.distillers import SimCCDistiller
from kd_plugins.losses import keypoint_kl
from kd_plugins.registry import MODELS
from tests.distillers.common import check_step, sentence
from tests.distillers.keypoint.estimators import JOINTS, WEIGHT, distilled, estimator, labelled, samples, simcc_head

HEADS = [('RTMCCHead', 'head.cls_', 10.0), ('SimCCHead', 'head.mlp_head_', 1.0)]


def taps(images: int = 2, joints: int = JOINTS, bins: tuple[int, int] = (6, 8)) -> tuple[dict, dict]:
    student, teacher = ({name: [torch.randn(images, joints, n)] for name, n in zip('xy', bins)} for _ in range(2))
    return student, of_teacher(teacher)


def of_teacher(tapped: dict) -> dict:
    return {f'teacher_{name}': tensors for name, tensors in tapped.items()}


def axes(tapped: dict) -> list[torch.Tensor]:
    return [tensors[0].detach() for tensors in tapped.values()]


@pytest.mark.parametrize('reduction', ['task', 'mean', 'reference'])
def test_all_joints_by_default(reduction: str) -> None:
    distiller = SimCCDistiller(beta=10.0, reduction=reduction)
    student, teacher = taps()
    distiller.initialize(student, teacher)
    actual = check_step(distiller, student, teacher, labelled(WEIGHT))['loss_kpt']
    assert actual == keypoint_kl(axes(student), axes(teacher), 10.0, None, reduction) and actual > 0
    assert all(student[name][0].grad.abs().sum() > 0 for name in 'xy')


def test_visible_only() -> None:
    distiller = SimCCDistiller(beta=10.0, visible_only=True)
    student, teacher = taps()
    actual = check_step(distiller, student, teacher, labelled(WEIGHT))['loss_kpt']
    assert actual == keypoint_kl(axes(student), axes(teacher), 10.0, WEIGHT)
    assert not student['x'][0].grad[WEIGHT == 0].any()


def test_level_of_logits_is_free_as_in_the_task_loss() -> None:
    """The documentation says so: scores, which MMPose reads from the largest logit, are not taught."""
    losses = pytest.importorskip('mmpose.models.losses')
    logits = [torch.randn(2, JOINTS, bins, dtype=torch.float64) for bins in (6, 8)]
    shifted = [axis + torch.randn(2, JOINTS, 1, dtype=torch.float64) for axis in logits]
    student, teacher = ({name: [axis] for name, axis in zip('xy', axes)} for axes in (shifted, logits))
    taught = SimCCDistiller(beta=10.0)(student, of_teacher(teacher), labelled(None))['loss_kpt']
    assert taught.abs() < 1e-12
    task = losses.KLDiscretLoss(beta=10.0, label_softmax=True)
    labels = [torch.rand_like(axis) for axis in logits]
    torch.testing.assert_close(task(shifted, labels, WEIGHT), task(logits, labels, WEIGHT))


@pytest.mark.parametrize('visible_only', [False, True])
def test_no_image_and_no_visible_joint(visible_only: bool) -> None:
    distiller = SimCCDistiller(beta=10.0, visible_only=visible_only)
    assert check_step(distiller, *taps(images=0), labelled(WEIGHT[:0]))['loss_kpt'] == 0
    actual = check_step(distiller, *taps(), labelled(torch.zeros(2, JOINTS)))['loss_kpt']
    assert (actual == 0) == visible_only


@pytest.mark.parametrize(('kind', 'path', 'beta'), HEADS)
def test_heads_of_mmpose(kind: str, path: str, beta: float) -> None:
    """The last layers fire, and the beta is that of the head's own loss."""
    loss = {} if beta == 1.0 else {'beta': beta}
    student = estimator(simcc_head(kind, **loss))
    config = {'type': 'kd_plugins.SimCCDistiller', 'x': f'{path}x', 'y': f'{path}y'}
    losses = distilled(student, config)
    assert losses['distill.pose.loss_kpt'] > 0
    layers = [student.get_submodule(f'{path}{axis}') for axis in 'xy']
    assert all(layer.weight.grad is not None and layer.weight.grad.abs().sum() > 0 for layer in layers)
    explicit = distilled(estimator(simcc_head(kind, **loss)), {**config, 'beta': beta})
    assert explicit['distill.pose.loss_kpt'] == losses['distill.pose.loss_kpt']
    other = distilled(estimator(simcc_head(kind, **loss)), {**config, 'beta': 2 * beta})
    assert other['distill.pose.loss_kpt'] != losses['distill.pose.loss_kpt']


def test_task_reduction_is_the_head_s_own() -> None:
    """With the labels as teacher and the visible joints, the term is the loss that the head itself reports."""
    student = estimator(simcc_head('RTMCCHead', beta=10.0))
    batch = samples()
    features = student.extract_feat(batch['inputs'])
    expected = student.head.loss(features, batch['data_samples'], {})['loss_kpt']
    student_taps = dict(zip('xy', ([logits.detach()] for logits in student.head.forward(features))))
    labels = [sample.gt_instance_labels for sample in batch['data_samples']]
    label_taps = {name: [torch.cat([label[f'keypoint_{name}_labels'] for label in labels])] for name in 'xy'}
    distiller = SimCCDistiller(beta=10.0, visible_only=True)
    actual = check_step(distiller, student_taps, of_teacher(label_taps), labelled(WEIGHT))['loss_kpt']
    torch.testing.assert_close(actual, expected.detach())


def test_each_network_has_its_own_beta() -> None:
    """RTMW was trained with 1 and RTMPose with 10: the distributions are compared as the heads were trained."""
    student = estimator(simcc_head('RTMCCHead', beta=10.0))
    teacher = estimator(simcc_head('RTMCCHead', beta=1.0))
    distiller = SimCCDistiller()
    distiller.check_models(student, teacher)
    student_outputs, teacher_outputs = taps()
    actual = check_step(distiller, student_outputs, teacher_outputs, labelled(None))['loss_kpt']
    expected = keypoint_kl(axes(student_outputs), [logits / 10 for logits in axes(teacher_outputs)], 10.0)
    torch.testing.assert_close(actual, expected)


def test_values_of_the_documentation() -> None:
    """Labels of MMPose's codec at 256x192 teach a student that knows nothing, or is a few bins off along x."""

    def label(bins: int, center: float, sigma: float) -> torch.Tensor:
        return torch.exp(-((torch.arange(bins) - center) ** 2) / (2 * sigma**2))[None, None]

    labels = {'x': [label(384, 150.0, 4.9)], 'y': [label(512, 260.0, 5.66)]}
    teacher = of_teacher(labels)
    distiller = SimCCDistiller(beta=10.0, reduction='mean')
    nothing = {name: [torch.zeros_like(tensors[0])] for name, tensors in labels.items()}
    assert distiller(nothing, teacher, labelled(None, 1))['loss_kpt'].item() == pytest.approx(8.0, abs=0.1)
    for shift, value in ((1, 0.2), (2, 0.7), (4, 2.4)):
        off = {**labels, 'x': [label(384, 150.0 + shift, 4.9)]}
        assert distiller(off, teacher, labelled(None, 1))['loss_kpt'].item() == pytest.approx(value, abs=0.05)


def test_another_layer_teaches() -> None:
    distiller = SimCCDistiller('a.x', 'a.y', teacher_x='b.x', teacher_y='b.y', beta=10.0, source='student')
    assert distiller.student_taps() == {'x': 'a.x', 'y': 'a.y'}
    assert distiller.teacher_taps() == {'teacher_x': 'b.x', 'teacher_y': 'b.y'}
    model = torch.nn.Identity()
    distiller.check_models(model, model)
    student, teacher = taps()
    distiller.initialize(student, teacher)
    check_step(distiller, student, teacher, labelled(None))


def test_config_sentences() -> None:
    with sentence("reduction is 'sum'; valid: 'task', 'mean', 'reference'"):
        SimCCDistiller(reduction='sum')
    with sentence('beta is 0; it must be a finite number > 0'):
        SimCCDistiller(beta=0)
    model = torch.nn.Identity()
    with sentence("distillers.<name>.x: 'head.cls_x' would teach itself; .*EMATeacher.* or set teacher_x to"):
        SimCCDistiller().check_models(model, model)
    with sentence("y: 'head.cls_y' would teach itself"):
        SimCCDistiller(teacher_x='other.cls_x').check_models(model, model)


def test_sentences_about_heads() -> None:
    student, teacher = (estimator(simcc_head('RTMCCHead', beta=10.0)) for _ in range(2))
    with sentence(r"x: 'head.cls_z' names no module of the student; nearest: 'head.cls_[xy]'"):
        SimCCDistiller(x='head.cls_z').check_models(student, teacher)
    heatmaps = estimator({'type': 'HeatmapHead', 'out_channels': JOINTS, 'deconv_out_channels': None})
    with sentence(r"beta is None, and no module above 'head.final_layer' has a loss_module with a beta, .*beta=10.0"):
        SimCCDistiller(x='head.final_layer').check_models(heatmaps, estimator(simcc_head('RTMCCHead')))


def test_shape_sentences() -> None:
    distiller = MODELS.build({'type': 'kd_plugins.SimCCDistiller', 'beta': 10.0, 'key': 'distillers.pose'})
    student, _ = taps()
    with sentence('distillers.pose.x: the teacher predicts 133 keypoints where the student predicts 5; use a teacher'):
        distiller.initialize(student, taps(joints=133)[1])
    with sentence('pose.y: the teacher predicts 16 bins where .* 8; use .* same input_size and simcc_split_ratio'):
        distiller.initialize(student, taps(bins=(6, 16))[1])
    wrong = {'x': [torch.zeros(2, 5)], 'y': student['y']}
    with sentence(r"pose.x: 'head.cls_x' of the student gives shapes \[\(2, 5\)\]; it must give one tensor"):
        distiller.initialize(wrong, taps()[1])
    with sentence(r"pose.y: 'head.cls_y' of the teacher gives shapes \[\(2, 5, 8\), \(2, 5, 8\)\]"):
        distiller.initialize(student, of_teacher({'x': student['x'], 'y': student['y'] * 2}))
    visible = SimCCDistiller(beta=10.0, visible_only=True)
    for batch in (labelled(None), labelled(WEIGHT[:, :3]), labelled(WEIGHT[:1])):
        with sentence(r'visible_only is True, and .*keypoint_weights of shape \(2, 5\); use visible_only=False'):
            visible(*taps(), batch)
