"""Helpers for the tests of LocalGraphDistiller: outputs of taps, initialized distillers, voxels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kd_plugins.distillers import Batch, LocalGraphDistiller
from kd_plugins.distillers.local_graph.graphs import LocalGraph
from tests.distillers.common import make_batch
from tests.distillers.local_graph.direct import direct_loss

BATCH = make_batch([None, None])
Shapes = list[tuple[int, ...]]


def taps(student_shapes: Shapes, teacher_shapes: Shapes | None = None) -> tuple[dict, dict]:
    shapes = student_shapes if teacher_shapes is None else teacher_shapes
    return {'student_tap': [torch.randn(s) for s in student_shapes]}, {'teacher_tap': [torch.randn(s) for s in shapes]}


def built(student: dict, teacher: dict, **options: Any) -> LocalGraphDistiller:
    distiller = LocalGraphDistiller(**{'num_points': 6, 'num_neighbours': 4, 'channels': 5, **options})
    distiller.initialize(student, teacher)
    return distiller


def direct(distiller: LocalGraphDistiller, student: dict, teacher: dict, read: Any, batch: Batch) -> Tensor:
    """The mean over levels and samples of the loss's definition on points that ``read`` lists."""
    values = []
    for level, graphs in enumerate(distiller.graphs(teacher, batch)):
        pair = distiller.student_adapters[level], distiller.teacher_adapters[level]
        rows = [read(taps[level]) for taps in (student['student_tap'], teacher['teacher_tap'])]
        values.append(direct_loss(*rows, graphs, pair, distiller.pool))
    return torch.cat(values).mean().detach()


def voxel_batch(owners: list[int], samples: int = 2) -> Batch:
    """A batch of MMDetection3D: voxel i lies at (z, y, x) = (0, 2 i, i) and holds i + 1 points."""
    count = torch.arange(len(owners), dtype=torch.int32)
    coors = torch.stack([torch.tensor(owners, dtype=torch.int32), 0 * count, 2 * count, count], dim=1)
    return Batch({'voxels': {'coors': coors, 'num_points': count + 1}}, [None] * samples)


def only_graph(teacher: dict, batch: Batch = BATCH, **options: Any) -> LocalGraph:
    student = {'student_tap': [x.clone() for x in teacher['teacher_tap']]}
    actual = built(student, teacher, **options).graphs(teacher, batch)[0][0]
    return LocalGraph(*(part[0] for part in actual))
