"""Points as MMDetection3D's own modules give them, on a CPU."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip('mmdet3d')
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from kd_plugins.distillers import Batch, LocalGraphDistiller
from kd_plugins.taps import TapSet
from tests.distillers.common import check_step

RANGE = [0.0, -8.0, -3.0, 16.0, 8.0, 1.0]
VOXEL = [1.0, 1.0, 4.0]


@pytest.fixture
def inputs() -> dict:
    """Two clouds of different size, voxelized by MMDetection3D."""
    from mmdet3d.registry import MODELS

    generator = torch.Generator().manual_seed(0)
    low, high = torch.tensor(RANGE[:3]), torch.tensor(RANGE[3:])
    clouds = []
    for count in (300, 120):
        xyz = low + torch.rand(count, 3, generator=generator) * (high - low)
        clouds.append(torch.cat([xyz, torch.rand(count, 1, generator=generator)], dim=1))
    layer = dict(max_num_points=8, point_cloud_range=RANGE, voxel_size=VOXEL, max_voxels=(500, 500))
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        preprocessor = MODELS.build(dict(type='Det3DDataPreprocessor', voxel=True, voxel_layer=layer))
    return preprocessor(dict(inputs=dict(points=clouds), data_samples=None), True)['inputs']


def encoder(channels: int) -> nn.Module:
    from mmdet3d.registry import MODELS

    config = dict(
        type='PillarFeatureNet',
        in_channels=4,
        feat_channels=[channels],
        with_distance=False,
        voxel_size=VOXEL,
        point_cloud_range=RANGE,
    )
    model = nn.Module()
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        model.voxel_encoder = MODELS.build(config)
    return model


def tapped(model: nn.Module, inputs: dict, key: str) -> dict[str, list[Tensor]]:
    taps = TapSet(model, {key: 'voxel_encoder'})
    taps.start()
    voxels = inputs['voxels']
    # The encoder's default form writes into its input.
    model.voxel_encoder(voxels['voxels'].clone(), voxels['num_points'], voxels['coors'])
    actual = {key: taps.read('voxel_encoder')}
    taps.remove()
    return actual


@pytest.mark.parametrize('space', ['feature', 'both'])
def test_pillars(inputs: dict, space: str) -> None:
    student = {'student_tap': [x.detach() for x in tapped(encoder(4), inputs, 'student_tap')['student_tap']]}
    teacher = {'teacher_tap': [x.detach() for x in tapped(encoder(8), inputs, 'teacher_tap')['teacher_tap']]}
    batch = Batch(inputs, [None, None])
    distiller = LocalGraphDistiller(
        'voxel_encoder', points='voxel', importance='count', space=space, num_points=40, num_neighbours=6, channels=4
    )
    distiller.initialize(student, teacher)
    assert check_step(distiller, student, teacher, batch)['loss_local_graph'] > 0
    places, graphs = distiller.places(teacher, batch)[0], distiller.graphs(teacher, batch)[0]
    sizes = torch.bincount(inputs['voxels']['coors'][:, 0].long()).tolist()
    first, second = graphs
    # Each sample's fullest pillars, and neighbours among its own.
    counts = inputs['voxels']['num_points'].split(sizes)
    for graph, count, start in ((first, counts[0], 0), (second, counts[1], sizes[0])):
        chosen = count[graph.centers[0] - start]
        assert chosen.min() >= count.sort(descending=True).values[39]
        assert graph.neighbours.min() >= start and graph.neighbours.max() < start + len(count)
    # (x, y, z) of a pillar in voxels: where its points lie.
    points = inputs['voxels']['voxels'][:, 0, :2]
    cells = ((points - torch.tensor(RANGE[:2])) / torch.tensor(VOXEL[:2])).floor()
    assert torch.equal(places[:, :2], cells)


def test_layers_of_pointnet() -> None:
    """A feature propagation layer of PointRCNN's neck gives features alone; the raw points are its coordinates."""
    from mmdet3d.models.layers import PointFPModule

    layer = PointFPModule([6, 5])
    clouds = [torch.randn(30, 4) for _ in range(2)]
    # Its interpolation needs a GPU where there are several source points; with one it is a copy.
    actual = layer(torch.stack(clouds)[:, :, :3], None, torch.randn(2, 2, 30), torch.randn(2, 4, 1))
    assert actual.shape == (2, 5, 30)
    student, teacher = {'student_tap': [actual.detach()]}, {'teacher_tap': [actual.detach() + 1]}
    distiller = LocalGraphDistiller(
        'neck.FP_modules.3', points='point', space='coordinate', num_points=9, num_neighbours=4
    )
    distiller.initialize(student, teacher)
    batch = Batch({'points': clouds}, [None, None])
    check_step(distiller, student, teacher, batch)
    assert torch.equal(distiller.places(teacher, batch)[0], torch.cat(clouds)[:, :3])
