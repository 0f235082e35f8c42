"""Reference mode against numbers that the released code gave.

Provenance: the functions ``get_voxel_knn`` and ``get_knn_voxel_backbone`` (mmdet3d/models/detectors/voxelnet.py),
``get_knn_voxel_backbone`` (mvx_two_stage.py) and ``get_knn_point_backbone`` (point_rcnn.py) with the helpers of
mmdet3d/utils/kd_utils.py, cut out of RunpeiDong/PointDistiller at commit a5dc465 and run on a CPU in float64 with
torch 2.13, without their ``.cuda()``. Edge functions were ``nn.Conv2d`` (1x1, no bias), ``nn.BatchNorm2d`` and ReLU, as
``ConvModule`` makes them. Inputs and weights are the sines below; 8 points, 5 neighbours. Each number pair is the loss
and the norm of its gradient on the student's features.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from kd_plugins.distillers import Batch, LocalGraphDistiller
from kd_plugins.distillers.local_graph.edge_adapter import EdgeAdapter
from kd_plugins.distillers.local_graph.released import RELEASED, released_weights

COUNTS = torch.tensor([3, 9, 1, 9, 4, 9, 2, 8, 8, 1, 5, 9, 7, 6, 9, 2, 3, 8, 4, 1])


def wave(*shape: int, f: float, s: float = 0.0) -> Tensor:
    return torch.sin(torch.arange(math.prod(shape), dtype=torch.float64) * f + s).reshape(shape)


def fill(adapter: EdgeAdapter, f: float) -> None:
    """Give an edge function the weights of the run."""
    weight = wave(*adapter.projection.weight.shape, f=f)
    if adapter.edge == 'difference':
        # Released: centre - neighbour; here: neighbour - centre.
        weight = torch.cat([-weight.chunk(2, dim=1)[0], weight.chunk(2, dim=1)[1]], dim=1)
    with torch.no_grad():
        adapter.projection.weight.copy_(weight)
        adapter.scale.copy_(1 + 0.5 * wave(3, f=f + 1))
        adapter.shift.copy_(0.3 * wave(3, f=f + 2))


def run(student: Tensor, teacher: Tensor, batch: Batch, levels: int = 1, **options: object) -> tuple[float, float]:
    options = {'num_points': 8, 'num_neighbours': 5, 'channels': 3, **options}
    distiller = LocalGraphDistiller('x', **options)  # type: ignore[arg-type]
    student.requires_grad_()
    taps = {'student_tap': [student] * levels}, {'teacher_tap': [teacher] * levels}
    distiller.initialize(*taps)
    distiller.double()
    for level in range(levels):
        fill(distiller.teacher_adapters[level], f=1.7)
        fill(distiller.student_adapters[level], f=2.3)
    loss = distiller(*taps, batch)['loss_local_graph']
    loss.backward()
    assert student.grad is not None
    return float(loss.detach()), float(student.grad.norm())


def pillars(counts: Tensor) -> Batch:
    """Twenty voxels of two samples, between which the released code makes no difference."""
    coors = torch.zeros(20, 4, dtype=torch.int32)
    coors[12:, 0] = 1
    return Batch({'voxels': {'coors': coors, 'num_points': counts}}, [None, None])


# Counts, and fractions that the temperature leaves comparable.
@pytest.mark.parametrize(
    ('edge', 'counts', 'loss', 'grad'),
    [
        ('concat', COUNTS, 1.8398208226172368, 1.3370307564484916),
        ('difference', COUNTS, 1.6174176211395153, 1.9641818288377357),
        ('concat', COUNTS / 200 + 0.0001 * torch.arange(20), 1.710282116128862, 0.9904554413036293),
    ],
)
def test_pointpillars(edge: str, counts: Tensor, loss: float, grad: float) -> None:
    teacher, student = wave(20, 4, f=1.3), wave(20, 3, f=0.7, s=1)
    actual = run(student, teacher, pillars(counts), points='voxel', edge=edge, reference='pointpillars')
    # The released weights are float32.
    assert actual == pytest.approx((loss, grad), rel=1e-5)


MAPS = Batch(None, [None, None])


@pytest.mark.parametrize(
    ('model', 'edge', 'loss', 'grad'),
    [
        ('second', 'concat', 2.7911993003307667, 0.6378189807442566),
        ('second', 'difference', 2.7618678456400745, 0.5252271754905761),
        ('nuscenes', 'concat', 1.3955996501653833, 0.3189094903721283),
    ],
)
def test_maps(model: str, edge: str, loss: float, grad: float) -> None:
    teacher, student = wave(2, 4, 4, 5, f=1.3), wave(2, 3, 4, 5, f=0.7, s=1)
    actual = run(student, teacher, MAPS, edge=edge, reference=model)
    assert actual == pytest.approx((loss, grad), rel=1e-9)
    # Two levels are added.
    student = wave(2, 3, 4, 5, f=0.7, s=1)
    assert run(student, teacher, MAPS, levels=2, edge=edge, reference=model)[0] == pytest.approx(2 * loss, rel=1e-9)


@pytest.mark.parametrize(
    ('pool', 'edge', 'loss', 'grad'),
    [
        (False, 'concat', 1.3955996501653833, 0.3189094903721283),
        (False, 'difference', 1.3809339228200372, 0.26261358774528804),
        (True, 'concat', 2.010775225734248, 0.7819345564393609),
        (True, 'difference', 2.2701333603313842, 0.5649313929995563),
    ],
)
def test_points(pool: bool, edge: str, loss: float, grad: float) -> None:
    teacher, student = wave(2, 4, 20, f=1.3), wave(2, 3, 20, f=0.7, s=1)
    actual = run(student, teacher, MAPS, points='point', edge=edge, pool=pool, reference='point_rcnn')
    assert actual == pytest.approx((loss, grad), rel=1e-9)


def test_weights() -> None:
    importance = torch.tensor([3.0, 1.0, 2.0])
    torch.testing.assert_close(
        released_weights('pointpillars', importance / 100, 4), (importance / 100 / 0.01).softmax(dim=0)
    )
    assert released_weights('second', importance, 4).tolist() == pytest.approx([4 / 3] * 3)
    for model in ('nuscenes', 'point_rcnn'):
        assert released_weights(model, importance, 4).tolist() == pytest.approx([1 / 3] * 3)
    for model in RELEASED:
        assert released_weights(model, importance[:0], 4).shape == (0,)


def test_what_the_release_uses_is_the_default_of_its_mode() -> None:
    assert LocalGraphDistiller('x', points='voxel', reference='pointpillars').importance == 'count'
    assert LocalGraphDistiller('x', reference='second').importance == 'max'
