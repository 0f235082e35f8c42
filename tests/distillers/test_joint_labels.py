"""Joints whose label the teacher finds: positions, weights, and the losses of them alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from kd_plugins.distillers import Batch, HeatmapDistiller, SimCCDistiller
from kd_plugins.distillers.joint_labels import AXES, HEATMAPS, keypoint_weights, peak_positions, true_positions
from kd_plugins.distillers.keypoint import KeypointDistiller
from kd_plugins.losses import keypoint_kl
from tests.distillers.common import check_step, sentence
from tests.distillers.keypoint.estimators import JOINTS, WEIGHT, distilled, estimator, simcc_head

KINDS = ['heatmap', 'simcc']
BETA = 4.0
WIDTH, HEIGHT = 20, 40
PLACES = torch.tensor(
    [[[3, 5], [10, 20], [19, 39], [0, 0], [7, 7]], [[1, 1], [2, 30], [12, 12], [15, 3], [9, 35]]], dtype=torch.long
)
"""Columns and rows of the labels, shape (2, 5, 2)."""
MOVES = torch.tensor([[[1, 0], [0, 1], [0, -2], [0, 3], [2, 0]], [[0, 0], [0, 2], [0, -2], [-1, 0], [1, 1]]])
"""How far the teacher is off. A column is 0.05 of the width, two rows are 0.05 of the height."""
RIGHT = torch.tensor([[True, True, True, False, False], [True, True, True, True, False]])


def maps(kind: str, places: Tensor) -> list[Tensor]:
    """Heatmaps, or the rows of both axes, with a peak at each place."""
    x = torch.nn.functional.one_hot(places[..., 0], WIDTH).float()
    y = torch.nn.functional.one_hot(places[..., 1], HEIGHT).float()
    return [y[..., :, None] * x[..., None, :]] if kind == 'heatmap' else [x, y]


def batch_of(kind: str, weight: Tensor = WEIGHT, levels: int = 0) -> Batch:
    """Two data samples as MMPose packs them."""
    targets, rows = maps(kind, PLACES), []
    for index, weights in enumerate(weight):
        labels: dict[str, Any] = {'keypoint_weights': weights[None]}
        fields: dict[str, Any] = {}
        if kind == 'simcc':
            labels.update({name: axis[index, None] for name, axis in zip(AXES, targets)})
        else:
            fields['heatmaps'] = targets[0][index]
            if levels:
                labels['keypoint_weights'] = weights[None, None].repeat(levels, 1, 1)
                fields['heatmaps'] = [targets[0][index].flip(-1)] * (levels - 1) + [targets[0][index]]
        rows.append(SimpleNamespace(gt_instance_labels=SimpleNamespace(**labels), gt_fields=SimpleNamespace(**fields)))
    return Batch(torch.zeros(len(rows), 3, 8, 8), rows)


def taps(kind: str) -> tuple[dict, dict]:
    generator = torch.Generator().manual_seed(0)
    names = ['heatmap'] if kind == 'heatmap' else ['x', 'y']
    teacher = maps(kind, PLACES + MOVES)
    student = {name: [torch.rand(one.shape, generator=generator)] for name, one in zip(names, teacher)}
    return student, {f'teacher_{name}': [one] for name, one in zip(names, teacher)}


def distiller_of(kind: str, **options: Any) -> KeypointDistiller:
    return (HeatmapDistiller if kind == 'heatmap' else SimCCDistiller)(beta=BETA, trust='truth', **options)


@pytest.mark.parametrize('kind', KINDS)
def test_positions_are_centres(kind: str) -> None:
    expected = (PLACES + 0.5) / torch.tensor([WIDTH, HEIGHT])
    torch.testing.assert_close(peak_positions(maps(kind, PLACES)), expected)
    labels = HEATMAPS if kind == 'heatmap' else AXES
    torch.testing.assert_close(true_positions(batch_of(kind), labels, WEIGHT, 'x', 'y'), expected)
    if kind == 'heatmap':
        found = true_positions(batch_of(kind, levels=3), labels, WEIGHT, 'x', 'y')
        torch.testing.assert_close(found, expected, msg='the last level counts')
        assert torch.equal(keypoint_weights(batch_of(kind, levels=3), WEIGHT, 'x', 'y'), WEIGHT)


@pytest.mark.parametrize('visible_only', [False, True])
@pytest.mark.parametrize('reduction', ['task', 'mean'])
@pytest.mark.parametrize('kind', KINDS)
def test_joints_count_where_the_teacher_is_right(kind: str, reduction: str, visible_only: bool) -> None:
    student, teacher = taps(kind)
    # A little more than 0.05, so that rounding does not decide.
    distiller = distiller_of(kind, reduction=reduction, visible_only=visible_only, distance=0.0501)
    loss = check_step(distiller, student, teacher, batch_of(kind))['loss_kpt']
    counted = RIGHT & (WEIGHT > 0)
    weight = counted * (WEIGHT if visible_only else 1.0)
    axes = [[tensors[0].detach().flatten(2) for tensors in side.values()] for side in (student, teacher)]
    mean = 'mean' if kind == 'heatmap' else reduction
    expected = keypoint_kl(axes[0], axes[1], BETA, weight, mean, counted)
    expected = expected / (WIDTH * HEIGHT) if kind == 'heatmap' and reduction == 'task' else expected
    torch.testing.assert_close(loss, expected)
    gradient = next(iter(student.values()))[0].grad.flatten(2).abs().sum(dim=-1)
    assert torch.equal(gradient > 0, counted)
    torch.testing.assert_close(distiller.monitors()['right'], counted.sum() / (WEIGHT > 0).sum())


@pytest.mark.parametrize('kind', KINDS)
def test_distance(kind: str) -> None:
    student, teacher = taps(kind)
    for distance, right in ((1e-6, 0.1), (10.0, 1.0)):
        distiller = distiller_of(kind, distance=distance)
        check_step(distiller, student, teacher, batch_of(kind, torch.ones(2, JOINTS)))
        assert float(distiller.monitors()['right']) == pytest.approx(right)


@pytest.mark.parametrize('kind', KINDS)
def test_a_selection_is_one_of_the_right_joints(kind: str) -> None:
    student, teacher = taps(kind)
    distiller = distiller_of(kind, select=dict(ratio=1.0), distance=0.0501)
    check_step(distiller, student, teacher, batch_of(kind))
    assert distiller.monitors()['selected'] == 1 and distiller.regions.counts is not None
    assert int(distiller.regions.counts[1]) == int((RIGHT & (WEIGHT > 0)).sum())


@pytest.mark.parametrize('kind', KINDS)
def test_batches_without_joints(kind: str) -> None:
    student, teacher = taps(kind)
    distiller = distiller_of(kind)
    assert check_step(distiller, student, teacher, batch_of(kind, torch.zeros(2, JOINTS)))['loss_kpt'] == 0
    nothing = [{name: [tensors[0].detach()[:0]] for name, tensors in side.items()} for side in (student, teacher)]
    assert check_step(distiller, *nothing, batch_of(kind, WEIGHT[:0]))['loss_kpt'] == 0
    assert distiller.monitors()['right'] == 0


@pytest.mark.parametrize('kind', KINDS)
def test_images_without_labels_are_refused(kind: str) -> None:
    student, teacher = taps(kind)
    nothing = Batch(torch.zeros(2, 3, 8, 8), [SimpleNamespace(), SimpleNamespace()])
    with sentence(
        r"trust is 'truth', and the data samples give no gt_instance_labels.keypoint_weights of shape \(2, 5"
    ):
        distiller_of(kind)(student, teacher, nothing)
    other = batch_of('simcc' if kind == 'heatmap' else 'heatmap')
    name = 'gt_fields.heatmaps' if kind == 'heatmap' else 'gt_instance_labels.keypoint_x_labels'
    with sentence(rf'give no {name} of shape \(2, 5, ...\); use trust=None, or a pipeline with GenerateTarget'):
        distiller_of(kind)(student, teacher, other)
    with sentence('distance is 0'):
        distiller_of(kind, distance=0.0)


@pytest.mark.parametrize('kind', ['HeatmapHead', 'RTMCCHead'])
def test_labels_of_mmpose(kind: str) -> None:
    """Every joint of a real head's batch is within ten widths and heights."""
    deconv = {'deconv_out_channels': (8,), 'deconv_kernel_sizes': (4,), 'loss': {'type': 'KeypointMSELoss'}}
    heatmaps = kind == 'HeatmapHead'
    head = {'type': kind, 'out_channels': JOINTS, **deconv} if heatmaps else simcc_head(kind)
    name = 'HeatmapDistiller' if heatmaps else 'SimCCDistiller'
    losses = distilled(estimator(head), {'type': f'kd_plugins.{name}', 'trust': 'truth', 'distance': 10.0})
    assert losses['distill.pose.loss_kpt'] > 0
