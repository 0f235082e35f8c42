from __future__ import annotations

import pytest
import torch

from kd_plugins.distillers import FeatureDistiller, HeatmapDistiller
from kd_plugins.losses import keypoint_kl
from kd_plugins.registry import MODELS
from tests.distillers.common import check_step, sentence
from tests.distillers.keypoint.estimators import JOINTS, WEIGHT, distilled, estimator, labelled

HEAD = {'type': 'HeatmapHead', 'out_channels': JOINTS, 'deconv_out_channels': (8,), 'deconv_kernel_sizes': (4,)}


def taps(*sizes: tuple[int, int], images: int = 2, joints: int = JOINTS) -> tuple[dict, dict]:
    student, teacher = ([torch.randn(images, joints, *size) for size in sizes] for _ in range(2))
    return {'heatmap': student}, {'teacher_heatmap': teacher}


def gaussian(size: tuple[int, int], sigma: float, height: float) -> torch.Tensor:
    """A target of MMPose's codecs: a Gaussian around the centre, cut off at three sigma."""
    rows, columns = (torch.arange(n, dtype=torch.float64) - n // 2 for n in size)
    target = torch.exp(-(rows[:, None] ** 2 + columns**2) / (2 * sigma**2))
    return height * target * (rows[:, None].abs() <= 3 * sigma) * (columns.abs() <= 3 * sigma)


@pytest.mark.parametrize(('size', 'sigma'), [((64, 48), 2.0), ((96, 72), 3.0)], ids=str)
@pytest.mark.parametrize(
    ('beta', 'shares'), [(5, [0.28, 0.17, 0.10]), (10, [0.96, 0.79, 0.28]), (20, [1.0, 1.0, 0.96])]
)
def test_the_default_factor(size: tuple[int, int], sigma: float, beta: float, shares: list[float]) -> None:
    """How much of the distribution lies under the peak is what the documentation says, at both usual input sizes."""
    for height, share in zip((1.0, 0.8, 0.5), shares):
        heatmap = gaussian(size, sigma, height)
        distribution = (beta * heatmap).flatten().softmax(0)
        assert distribution[heatmap.flatten() > 0].sum().item() == pytest.approx(share, abs=0.008)


@pytest.mark.parametrize('reduction', ['task', 'mean'])
def test_value_by_definition(reduction: str) -> None:
    distiller = HeatmapDistiller(reduction=reduction, beta=2.0, visible_only=True)
    student, teacher = taps((3, 4))
    distiller.initialize(student, teacher)
    actual = check_step(distiller, student, teacher, labelled(WEIGHT))['loss_kpt']
    total = 0.0
    for n in range(2):
        for k in range(JOINTS):
            p, q = (torch.exp(2.0 * x[0][n, k].detach().double()) for x in (*teacher.values(), *student.values()))
            p, q = p / p.sum(), q / q.sum()
            total += float(WEIGHT[n, k] * (p * (p / q).log()).sum())
    mean = total / (2 * JOINTS)
    assert actual.item() == pytest.approx(mean / 12 if reduction == 'task' else mean, rel=1e-5)


@pytest.mark.parametrize('times', [1, 4])
def test_ratio_to_the_task_loss(times: int) -> None:
    """Both are means over the batch: the ratio is the same in any."""
    losses = pytest.importorskip('mmpose.models.losses')
    generator = torch.Generator().manual_seed(0)
    maps, teacher_maps, truth = torch.rand(3, 2, JOINTS, 8, 6, generator=generator)

    def ratio(times: int) -> torch.Tensor:
        student, teacher, target = (x.repeat(times, 1, 1, 1) for x in (maps, teacher_maps, truth))
        task = losses.KeypointMSELoss(use_target_weight=True)(student, target, WEIGHT.repeat(times, 1))
        outputs = {'heatmap': [student]}, {'teacher_heatmap': [teacher]}
        return HeatmapDistiller()(*outputs, labelled(None))['loss_kpt'] / task

    torch.testing.assert_close(ratio(times), ratio(1))


@pytest.mark.parametrize(
    ('height', 'shift', 'value'), [(0.0, 0, 0.00175), (0.7, 0, 0.00013), (1.0, 1, 0.00029), (1.0, 3, 0.00174)]
)
def test_values_and_gradients_have_the_size_of_the_task_loss(height: float, shift: int, value: float) -> None:
    """With the default weight of 1, taught by the target itself, where the student's peak is low or off by pixels."""
    target = gaussian((64, 48), 2.0, 1.0)
    heatmap = (height * target.roll(shift, 1))[None, None].clone().requires_grad_()
    outputs = {'heatmap': [heatmap]}, {'teacher_heatmap': [target[None, None]]}
    actual = HeatmapDistiller()(*outputs, labelled(None, 1))['loss_kpt']
    assert actual.item() == pytest.approx(value, abs=5e-6)
    (distillation,) = torch.autograd.grad(actual, heatmap)
    (task,) = torch.autograd.grad((heatmap - target).square().mean(), heatmap)
    assert 0.5 < distillation.norm() / task.norm() < 2.0


@pytest.mark.parametrize(
    ('change', 'divergence', 'square'),
    [('level', 0.0, 0.09), ('height', 0.053, 0.000073), ('shift', 1.69, 0.000313)],
)
def test_level_and_height_of_low_peaks_hardly_count(change: str, divergence: float, square: float) -> None:
    """The numbers of the documentation: a second stage with beta=30 on heatmaps of 32x24 whose peaks reach 0.4.

    A change of the level costs nothing and a lower peak a thirtieth of a shift by one pixel, although both change the
    scores that rank people in AP. The mean squared error on the same tap sees all three.
    """
    target = gaussian((32, 24), 5 / 3, 0.4)
    changed = {'level': target - 0.3, 'height': 0.8 * target, 'shift': target.roll(1, 1)}[change]
    maps = [changed[None, None]], [target[None, None]]
    kl = HeatmapDistiller(beta=30.0, reduction='mean')
    losses = kl({'heatmap': maps[0]}, {'teacher_heatmap': maps[1]}, labelled(None, 1))
    assert losses['loss_kpt'].item() == pytest.approx(divergence, abs=0.002)
    mse = FeatureDistiller('head.final_layer')
    outputs = {'student_tap': maps[0]}, {'teacher_tap': maps[1]}
    mse.initialize(*outputs)
    assert mse(*outputs, labelled(None, 1))['loss_feat'].item() == pytest.approx(square, rel=0.01)


def test_squared_error_of_heatmaps_is_the_task_loss() -> None:
    """``FeatureDistiller`` on the last layer is ``KeypointMSELoss`` with the teacher's heatmaps as labels."""
    losses = pytest.importorskip('mmpose.models.losses')
    student, teacher = torch.randn(2, 2, JOINTS, 8, 6)
    distiller = FeatureDistiller('head.final_layer')
    outputs = {'student_tap': [student]}, {'teacher_tap': [teacher]}
    distiller.initialize(*outputs)
    actual = distiller(*outputs, labelled(None))['loss_feat']
    torch.testing.assert_close(actual, losses.KeypointMSELoss()(student, teacher))


@pytest.mark.parametrize('reduction', ['task', 'mean'])
def test_stages_are_summed(reduction: str) -> None:
    distiller = HeatmapDistiller('head.predict_layers.*', reduction=reduction)
    student, teacher = taps((4, 3), (8, 6))
    distiller.initialize(student, teacher)
    actual = check_step(distiller, student, teacher, labelled(None))['loss_kpt']
    single = [
        HeatmapDistiller(reduction=reduction)({'heatmap': [s.detach()]}, {'teacher_heatmap': [t]}, labelled(None))
        for s, t in zip(student['heatmap'], teacher['teacher_heatmap'])
    ]
    torch.testing.assert_close(actual, single[0]['loss_kpt'] + single[1]['loss_kpt'])


def test_weights_of_several_levels() -> None:
    """MSPN labels every level; a joint counts where one of them does."""
    distiller = HeatmapDistiller(visible_only=True)
    batch = labelled(WEIGHT)
    for sample, row in zip(batch.data_samples or (), WEIGHT):
        sample.gt_instance_labels.keypoint_weights = torch.stack([row, torch.zeros_like(row)])[:, None]
    student, teacher = taps((4, 3))
    actual = check_step(distiller, student, teacher, batch)['loss_kpt']
    assert actual == check_step(distiller, student, teacher, labelled(WEIGHT))['loss_kpt']


@pytest.mark.parametrize('visible_only', [False, True])
def test_no_image_and_no_visible_joint(visible_only: bool) -> None:
    distiller = HeatmapDistiller(visible_only=visible_only)
    assert check_step(distiller, *taps((4, 3), images=0), labelled(WEIGHT[:0]))['loss_kpt'] == 0
    actual = check_step(distiller, *taps((4, 3)), labelled(torch.zeros(2, JOINTS)))['loss_kpt']
    assert (actual == 0) == visible_only


def test_equal_networks_lose_nothing() -> None:
    student, _ = taps((4, 3))
    teacher = {'teacher_heatmap': [student['heatmap'][0].clone()]}
    assert check_step(HeatmapDistiller(), student, teacher, labelled(None))['loss_kpt'].abs() < 1e-6


def test_head_of_mmpose() -> None:
    student = estimator(HEAD)
    losses = distilled(student, {'type': 'kd_plugins.HeatmapDistiller', 'visible_only': True})
    assert losses['distill.pose.loss_kpt'] > 0
    assert student.head.final_layer.weight.grad.abs().sum() > 0


def test_peak_of_the_codec() -> None:
    """MSPN's targets have a peak of 255: a factor 255 times smaller gives the same distribution, and its task loss and
    gradients are 255 * 255 and 255 times larger."""
    codec = {'type': 'MegviiHeatmap', 'input_size': (48, 64), 'heatmap_size': (12, 16), 'kernel_size': 5}
    student, teacher = estimator({**HEAD, 'decoder': codec}), estimator(HEAD)
    distiller = HeatmapDistiller()
    distiller.check_models(student, teacher)
    student_outputs, teacher_outputs = taps((4, 3))
    actual = check_step(distiller, student_outputs, teacher_outputs, labelled(None))['loss_kpt']
    flat = [student_outputs['heatmap'][0].detach().flatten(2), teacher_outputs['teacher_heatmap'][0].flatten(2)]
    expected = keypoint_kl([flat[0] / 255], [flat[1]], 10.0, reduction='mean') * 255**2 / 12
    torch.testing.assert_close(actual, expected)


def test_config_sentences() -> None:
    with sentence("reduction is 'reference'; valid: 'task', 'mean'"):
        HeatmapDistiller(reduction='reference')
    with sentence('beta is -1'):
        HeatmapDistiller(beta=-1)
    model = torch.nn.Identity()
    with sentence("heatmap: 'head.final_layer' would teach itself; .* or set teacher_heatmap to"):
        HeatmapDistiller().check_models(model, model)
    student, teacher = estimator(HEAD), estimator(HEAD)
    with sentence("heatmap: 'head.final' names no module of the student; nearest: 'head.final_layer'"):
        HeatmapDistiller('head.final').check_models(student, teacher)
    offsets = estimator({**HEAD, 'out_channels': 3 * JOINTS, 'loss': {'type': 'CombinedTargetMSELoss'}})
    with sentence('HeatmapHead of the teacher gives two offset maps .*; use FeatureDistiller'):
        HeatmapDistiller().check_models(student, offsets)


def test_shape_sentences() -> None:
    distiller = MODELS.build({'type': 'kd_plugins.HeatmapDistiller', 'key': 'distillers.pose'})
    student, _ = taps((8, 6))
    with sentence('distillers.pose.heatmap: the teacher predicts 17 keypoints where the student predicts 5'):
        distiller.initialize(student, taps((8, 6), joints=17)[1])
    with sentence('teacher are 16x12 and those of the student 8x6; use .* same input_size and heatmap_size'):
        distiller.initialize(student, taps((16, 12))[1])
    with sentence('student gives 1 heatmaps and the teacher 2'):
        distiller.initialize(student, taps((8, 6), (8, 6))[1])
    flat = [torch.zeros(2, 5, 8)]
    with sentence(r"'head.final_layer' has shape \(2, 5, 8\); it must be \(N, keypoints, H, W\)"):
        distiller.initialize({'heatmap': flat}, {'teacher_heatmap': flat})
    with sentence('visible_only is True'):
        HeatmapDistiller(visible_only=True)(*taps((8, 6)), labelled(None))
