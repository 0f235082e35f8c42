"""ONNX files: onnxruntime gives MMDetection's prediction, for any number of images; differences are seen."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet')

from mmengine.structures import InstanceData

from kd_plugins.deployment.fusion import fuse
from kd_plugins.deployment.graph import DetectorGraph
from kd_plugins.deployment.onnx_file import OPSET, TOLERANCE, apart, compare, export, session
from kd_plugins.models.reparameterization import switch_to_deploy
from tests.deployment.exported import HEIGHT, WIDTH, detector, rtdetr


def test_onnxruntime_gives_the_same_detections() -> None:
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    model = detector()
    switch_to_deploy(model)
    data = export(DetectorGraph(model), HEIGHT, WIDTH, ('cat', 'dog', 'cow'))
    runtime = session(data)
    agreements = compare(runtime, model, HEIGHT, WIDTH, batches=(1, 2, 3))
    assert list(agreements) == [1, 2, 3]
    assert all(agreement.difference < TOLERANCE and agreement.holds for agreement in agreements.values())
    with torch.no_grad():
        model.bbox_head.reg_branches[0][-1].bias += 0.01
    other = compare(runtime, model, HEIGHT, WIDTH)[1]
    assert other.difference > TOLERANCE and 0 < other.rounding < TOLERANCE, 'another model is noticed'
    assert not other.holds and 'torch itself by' in str(other)
    file = onnx.load_from_string(data)
    assert [(entry.domain, entry.version) for entry in file.opset_import] == [('', OPSET)]
    kinds = [node.op_type for node in file.graph.node]
    assert kinds.count('LayerNormalization') == 12 and kinds.count('GridSample') == 3 * 2
    assert 'BatchNormalization' not in kinds
    shapes = {value.name: [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
              for value in [*file.graph.input, *file.graph.output]}  # fmt: skip
    assert shapes['images'] == ['N', 3, HEIGHT, WIDTH] and shapes['sizes'] == ['N', 2]
    assert all(shapes[name][0] == 'N' for name in ('labels', 'boxes', 'scores'))
    properties = {entry.key: entry.value for entry in file.metadata_props}
    assert json.loads(properties['classes']) == ['cat', 'dog', 'cow'] and '0 to 1' in properties['images']


@pytest.mark.parametrize('method', ['default', 'discrete'])
def test_rtdetr_is_exported_like_dfine(method: str) -> None:
    """Both samplings of RT-DETRv2, with other numbers of points on the levels; the first is that of RT-DETR."""
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    points = {'num_points': (4, 3, 2), 'method': method}
    model = rtdetr(**{f'decoder.layer_cfg.cross_attn_cfg.{key}': value for key, value in points.items()})
    fusion = fuse(model, HEIGHT, WIDTH)
    assert fusion.difference < 1e-9 and fusion.after.parameters < fusion.before.parameters
    assert not any('layers.2' in name for name in fusion.model.decoder.state_dict()), 'what only trains is dropped'
    data = export(DetectorGraph(fusion.model), HEIGHT, WIDTH)
    agreements = compare(session(data), model, HEIGHT, WIDTH, batches=(1, 3))
    assert all(agreement.holds for agreement in agreements.values()), {n: str(one) for n, one in agreements.items()}
    assert all(agreement.typical == (method == 'discrete') for agreement in agreements.values())
    file = onnx.load_from_string(data)
    assert [(entry.domain, entry.version) for entry in file.opset_import] == [('', OPSET)]
    kinds = [node.op_type for node in file.graph.node]
    assert kinds.count('GridSample') == (2 * 3 if method == 'default' else 0) and 'BatchNormalization' not in kinds
    assert file.graph.input[0].type.tensor_type.shape.dim[0].dim_param == 'N'


def instances(labels: list[int], scores: list[float]) -> Any:
    boxes = torch.tensor([[0.0, 0.0, 10.0 + label, 10.0] for label in labels])
    return InstanceData(labels=torch.tensor(labels), scores=torch.tensor(scores), bboxes=boxes)


def test_difference_of_detections_by_hand() -> None:
    expected = instances([0, 1, 2], [0.9, 0.5, 0.1])

    def shown(one: Any) -> list[np.ndarray]:
        return [one.labels.numpy(), one.bboxes.numpy(), one.scores.numpy()]

    assert apart(shown(expected), expected, 100.0) == 0
    equal = instances([0, 1], [0.5, 0.5])
    assert apart(shown(instances([1, 0], [0.5, 0.5])), equal, 100.0) == 0, 'equal scores may be in any order'
    assert apart(shown(instances([0, 1, 2], [0.9, 0.6, 0.1])), expected, 100.0) == pytest.approx(0.1)
    assert apart(shown(instances([0, 1, 2], [0.9, 0.6, 0.1])), expected, 100.0, typical=True) == 0
    assert apart(shown(instances([0, 1, 2], [0.8, 0.6, 0.1])), expected, 100.0, typical=True) == pytest.approx(0.1)
    moved = instances([0, 1, 2], [0.9, 0.5, 0.1])
    moved.bboxes[1, 2] += 5
    assert apart(shown(moved), expected, 100.0) == pytest.approx(0.05)
    assert apart(shown(instances([0, 0, 2], [0.9, 0.5, 0.1])), expected, 100.0) == pytest.approx(0.4)
    assert apart(shown(instances([2, 1, 2], [0.9, 0.5, 0.1])), expected, 100.0) == pytest.approx(0.8)
    assert apart(shown(instances([0, 1, 2], [0.9, float('nan'), 0.1])), expected, 100.0) == float('inf')
    moved.bboxes[2, 2] = float('nan')
    assert apart(shown(moved), expected, 100.0, typical=True) == float('inf')
    assert apart(shown(instances([1, 1, 2], [0.9, 0.5, 0.1])[:2]), expected, 100.0) == float('inf')
