"""Error sentences of LocalGraphDistiller about arguments, shapes and batches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.distillers import Batch, LocalGraphDistiller
from kd_plugins.registry import MODELS
from tests.distillers.common import sentence
from tests.distillers.local_graph.samples import BATCH, Shapes, built, only_graph, taps, voxel_batch


def wrong(features: Tensor) -> Tensor:
    return features


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        ({'points': 'pillar'}, "points is 'pillar'; valid: 'grid', 'voxel', 'point'"),
        ({'importance': 'maximum'}, "importance is 'maximum', which cannot be imported .*nearest: 'max'"),
        ({'importance': 'torch.nothing'}, "importance is 'torch.nothing', which cannot be imported"),
        ({'importance': 'torch.float32'}, 'is not a function but dtype'),
        ({'importance': 'count'}, "importance is 'count', which only voxels have, with points='grid'"),
        ({'importance': 'score'}, "scores is None with importance='score'; set both"),
        ({'scores': 'bbox_head.gfl_cls'}, "scores is 'bbox_head.gfl_cls' with importance='max'; set both"),
        ({'num_points': 0}, 'num_points is 0; valid: an integer of at least 1, such as 256'),
        ({'num_points': None}, 'num_points is None; valid: an integer'),
        ({'num_neighbours': 2.5}, 'num_neighbours is 2.5; valid'),
        ({'channels': -1}, 'channels is -1; valid'),
        ({'channels': 10**9}, 'channels is 1000000000; valid: an integer of at least 1, such as 32'),
        ({'space': 'features'}, "space is 'features'; nearest: 'feature'"),
        ({'edge': 'sub'}, "edge is 'sub'; valid: 'concat', 'difference'"),
        ({'temperature': 0.0}, 'temperature is 0.0; it must be a finite number > 0'),
        ({'pool': 'max'}, "pool is 'max'; valid: True, False"),
        ({'resize': 'linear'}, "resize is 'linear'; nearest: 'bilinear'"),
        ({'points': 'point', 'resize': 'area'}, "resize is 'area' with points='point'"),
        ({'reference': 'pillars'}, "reference is 'pillars'; nearest: 'pointpillars'"),
        ({'reference': 'second', 'temperature': 0.1}, "reference is 'second', which has its own weights"),
        ({'reference': 'pointpillars'}, "importance is 'count', which only voxels have"),
    ],
)
def test_config_sentences(options: dict, match: str) -> None:
    with sentence(match):
        LocalGraphDistiller(**options)


def test_a_layer_does_not_teach_itself() -> None:
    model = nn.Identity()
    with sentence('would teach itself'):
        LocalGraphDistiller().check_models(model, model)


@pytest.mark.parametrize(
    ('options', 'student_shapes', 'teacher_shapes', 'scores', 'match'),
    [
        ({}, [(2, 4, 3, 3)], [(2, 4, 3, 3)] * 2, None, '1 levels and the teacher 2'),
        ({}, [(2, 4)], [(2, 4)], None, r"points is 'grid', which reads \(N, C, H, W\), .*'voxel' for \(V, C\)"),
        ({'points': 'voxel'}, [(2, 4, 3)], [(2, 4, 3)], None, r"points is 'voxel', which reads \(V, C\)"),
        ({}, [(2, 4, 6, 6)], [(2, 4, 3, 3)], None, 'graph.student_tap: level 0 .*for maps of other sizes set resize'),
        ({'points': 'voxel'}, [(12, 4)], [(10, 4)], None, 'both must have the same points'),
        ({}, [(2, 4, 3, 3)] * 2, [(2, 4, 3, 3)] * 2, [(2, 3, 3, 3)], 'scores: .* gives 1 tensors for 2 levels'),
        ({}, [(2, 4, 3, 3)], [(2, 4, 3, 3)], [(2, 3, 6, 6)], 'scores: level 0 .*belong to the same points'),
    ],
)
def test_shape_sentences(
    options: dict, student_shapes: Shapes, teacher_shapes: Shapes, scores: Shapes | None, match: str
) -> None:
    more = {} if scores is None else {'importance': 'score', 'scores': 'bbox_head.cls'}
    settings = {'key': 'distillers.graph', **options, **more}
    distiller = MODELS.build({'type': 'kd_plugins.LocalGraphDistiller', **settings})
    student, teacher = taps(student_shapes, teacher_shapes)
    with sentence(match):
        distiller.initialize(student, {**teacher, 'scores': [torch.randn(s) for s in scores or []]})


def test_sentences_about_a_batch() -> None:
    student, teacher = taps([(12, 4)])
    distiller = built(student, teacher, points='voxel', key='distillers.graph')
    with sentence(r"graph.points is 'voxel', which reads inputs\['voxels'\]\['coors'\]"):
        distiller(student, teacher, BATCH)
    with sentence('the layer gives 12 rows for 5 voxels; tap the voxel encoder'):
        distiller(student, teacher, voxel_batch([0] * 5))
    student, teacher = taps([(2, 4, 12)])
    distiller = built(student, teacher, points='point', space='both')
    with sentence("space needs coordinates, .*12 points; nearest: 'feature'"):
        distiller(student, teacher, Batch({'points': [torch.randn(50, 4)] * 2}, [None, None]))
    with sentence(r'the function gives \(48, 4\) for features \(48, 4\); it must give \(48,\)'):
        only_graph(taps([(2, 4, 6, 8)])[1], importance='tests.distillers.local_graph.test_distiller_input.wrong')
