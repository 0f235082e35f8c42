"""Joints as objects of pose estimators."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from kd_plugins.distillers import Batch, LabelGuidedDistiller
from kd_plugins.distillers.label_guided import PoseTask, TaskSettings
from kd_plugins.distillers.label_guided.pose import cells_of_joints, target_deviations
from kd_plugins.hooks.session import DistillSession
from tests.distillers.common import sentence

SIMCC = SimpleNamespace(input_size=(32, 64), simcc_split_ratio=2.0, sigma=(4.0, 4.0))
HEATMAP = SimpleNamespace(input_size=(32, 64), heatmap_size=(8, 16), sigma=1.0)


class Estimator(nn.Module):
    def __init__(self, codec: Any, in_channels: Any = 8) -> None:
        super().__init__()
        self.head = nn.Module()
        self.head.decoder, self.head.in_channels, self.head.out_channels = codec, in_channels, 3
        self.head.loss_module = nn.Identity()


def task(codec: Any = SIMCC, context: bool = True, in_channels: Any = 8) -> PoseTask:
    return PoseTask(Estimator(codec, in_channels), TaskSettings('distillers.x', context))


def person(codec: Any, places: list[tuple[int, int]], weights: list[float]) -> Any:
    """A person whose joints have their targets at (x, y) in pixels."""
    sample = SimpleNamespace(metainfo={'input_size': (32, 64), 'img_shape': (500, 400)})
    sample.gt_instance_labels = SimpleNamespace(keypoint_weights=torch.tensor([weights]))
    if hasattr(codec, 'heatmap_size'):
        maps = torch.zeros(3, 16, 8)
        for joint, (x, y) in enumerate(places):
            maps[joint, y // 4, x // 4] = 1
        sample.gt_fields = SimpleNamespace(heatmaps=maps)
        return sample
    for name, axis, bins in (('keypoint_x_labels', 0, 64), ('keypoint_y_labels', 1, 128)):
        rows = torch.zeros(1, 3, bins)
        for joint, place in enumerate(places):
            rows[0, joint, place[axis] * 2] = 1
        setattr(sample.gt_instance_labels, name, rows)
    return sample


@pytest.mark.parametrize('codec', [SIMCC, HEATMAP], ids=['simcc', 'heatmap'])
def test_objects(codec: Any) -> None:
    samples = [
        person(codec, [(4, 8), (16, 32), (0, 0)], [1.0, 0.5, 0.0]),
        person(codec, [(0, 0)] * 3, [0.0] * 3),
    ]
    objects = task(codec).objects(Batch(torch.zeros(2, 3, 64, 32), samples), torch.zeros(2, 1))
    assert objects.labels.tolist() == [[-1, 0, 1, -1], [-1] * 4]
    assert objects.valid.tolist() == [[True, True, True, False], [True, False, False, False]]
    parts = (objects.descriptors + 1) / 2
    half = 0.25 / 32 if codec is SIMCC else 2 / 32
    torch.testing.assert_close(parts[0, 1], torch.tensor([4 / 32 + half, 8 / 64 + half / 2, 1, 1, 0, 0]))
    torch.testing.assert_close(parts[0, 2], torch.tensor([0.5 + half, 0.5 + half / 2, 0.5, 0, 1, 0]))
    cells = objects.cells((2, 1), None)
    assert cells[0].flatten(1).tolist() == [[1, 1], [1, 0], [0, 1], [0, 0]] and cells[1, 1:].sum() == 0
    alone = task(codec, context=False).objects(Batch(torch.zeros(2, 3, 64, 32), samples), torch.zeros(2, 1))
    assert torch.equal(alone.descriptors, objects.descriptors[:, 1:])


def test_cells_within_two_deviations() -> None:
    # Deviations in bins of half a pixel, and in cells of four pixels.
    assert target_deviations(SIMCC) == (4 / 64, 4 / 128) and target_deviations(HEATMAP) == (1 / 8, 1 / 16)
    assert target_deviations(SimpleNamespace(heatmap_size=(8, 16))) == (0.0, 0.0)
    cells = cells_of_joints(torch.tensor([[[0.5, 0.5]]]), (0.25, 0.125), (16, 8))[0, 0]
    x, y = (torch.arange(8) + 0.5) / 8 - 0.5, (torch.arange(16) + 0.5) / 16 - 0.5
    inside = (x[None] / 0.25) ** 2 + (y[:, None] / 0.125) ** 2 <= 1
    inside[8, 4] = True
    assert torch.equal(cells, inside) and cells.sum() == 12


def test_maps_of_the_head() -> None:
    assert list(task().levels(4)) == [3] and list(task(in_channels=[4, 8]).levels(4)) == [2, 3]
    assert PoseTask.fits(Estimator(HEATMAP)) and not PoseTask.fits(Estimator(None)) and not PoseTask.fits(nn.Module())
    assert task().descriptor_size == 6 and task().counts('loss_kpt')


def test_sentences() -> None:
    for name in ('masks', 'reference'):
        with sentence(f'distillers.x.{name} is a setting for detectors, and Estimator is a pose estimator'):
            PoseTask(Estimator(SIMCC), TaskSettings('distillers.x', **{name: True}))
    with sentence(
        'distillers.x: LabelGuidedDistiller encodes the joints of persons, and the data samples give no gt_ins'
    ):
        task().objects(Batch(torch.zeros(1, 3, 8, 8), [SimpleNamespace(metainfo={})]), torch.zeros(1, 1))


@pytest.mark.parametrize('kind', ['simcc', 'heatmap'])
def test_a_step_of_an_estimator(kind: str) -> None:
    pytest.importorskip('mmpose')
    from tests.fuzz.worlds import world

    student, data = copy.deepcopy(world(kind).pristine).train(), copy.deepcopy(world(kind).data)
    one = LabelGuidedDistiller(channels=16, encoder_width=0.125, key='distillers.guide')
    session = DistillSession(student, {'guide': one}, {}, lambda: None)
    session.weights = {'guide': 1.0}
    losses = student(**data, mode='loss')
    session.detach()
    assert losses['distill.guide.loss_head'] > 0 and losses['distill.guide.loss_feat'] > 0
    losses['distill.guide.loss_head'].backward()
    assert any(param.grad is not None and param.grad.abs().sum() > 0 for param in student.head.parameters())
    assert all(param.grad is not None for param in one.instructor.parameters())
