"""AP of decoder layers: the last is that of the ordinary test, and the others are those of their own detections."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip('mmdet')
pytest.importorskip('pycocotools')

from mmdet.evaluation import CocoMetric
from mmengine.evaluator import Evaluator

from kd_plugins.diagnostics.layer_ap import HIGH, LayerEvaluator, check_detector, layer_ap
from kd_plugins.errors import ConfigError
from kd_plugins.runner.launch import build_runner
from tests import coco_of_layers

LAYERS = 3


@pytest.mark.parametrize(
    'name', ['dino_r18_bccd', 'dino_r18_bccd_golsd', 'deformable-detr_r18_bccd', 'dab-detr_r18_bccd']
)
def test_the_last_layer_is_the_ordinary_test(name: str, tmp_path: Path) -> None:
    config = coco_of_layers.make(tmp_path, name)
    runner = build_runner(config)
    usual = runner.test_loop.evaluator
    results = layer_ap(runner)
    assert [result['layer'] for result in results] == list(range(1, LAYERS + 1))
    assert runner.test_loop.evaluator is usual and 'predict' not in vars(runner.model.bbox_head)
    ordinary = runner.test()
    assert results[-1]['metrics'] == ordinary and ordinary['coco/bbox_mAP'] > 0.05
    for result in results:
        metrics = result['metrics']
        for key, name in (('AP', 'mAP'), ('AP50', 'mAP_50'), ('AP75', 'mAP_75')):
            assert round(result[key], 3) == metrics[f'coco/bbox_{name}']
        assert result['AP'] == pytest.approx(sum(result[f'AP{iou}'] for iou in range(50, 100, 5)) / 10)
        assert result['AP75-90'] == pytest.approx(sum(result[f'AP{iou}'] for iou in HIGH) / 4)
    assert len({result['AP'] for result in results}) > 1, 'layers that agree would show nothing'


def test_an_earlier_layer_is_a_detector_that_ends_there(tmp_path: Path) -> None:
    """DINO with its last decoder layers cut off, and the branches of the proposals moved, has that layer's metrics."""
    config = coco_of_layers.make(tmp_path, 'dino_r18_bccd')
    first = layer_ap(build_runner(config))[0]['metrics']
    state = torch.load(tmp_path / 'model.pth', weights_only=True)['state_dict']
    kept = {}
    for key, value in state.items():
        branch = key.split('.')[2] if key.startswith(('bbox_head.cls_branches', 'bbox_head.reg_branches')) else None
        if branch in ('1', '2') or key.startswith(('decoder.layers.1.', 'decoder.layers.2.')):
            continue
        kept[key.replace(f'_branches.{LAYERS}.', '_branches.1.')] = value
    torch.save({'state_dict': kept, 'meta': {}}, tmp_path / 'model.pth')
    config.model.decoder.num_layers = 1
    assert build_runner(config).test() == first


def test_no_detections_are_no_error(tmp_path: Path) -> None:
    config = coco_of_layers.make(tmp_path, 'dab-detr_r18_bccd')
    runner = build_runner(config)
    head: Any = runner.model.bbox_head
    usual = head.predict_by_feat
    head.predict_by_feat = lambda *args, **kwargs: [found[:0] for found in usual(*args, **kwargs)]
    assert [set(result) for result in layer_ap(runner)] == [{'layer', 'metrics'}] * LAYERS


class GFLHead(nn.Module):
    """A head without decoder layers."""


class DETRHead(nn.Module):
    """A head that is recognised by its name."""


@pytest.mark.parametrize(
    ('model', 'sentence'),
    [
        (
            SimpleNamespace(bbox_head=GFLHead()),
            r'^model: GFLHead has no decoder layers .*; nearest: a DETR such as DINO',
        ),
        (nn.Linear(1, 1), r'^model: Linear has no decoder layers'),
        (
            SimpleNamespace(bbox_head=DETRHead(), decoder=SimpleNamespace(return_intermediate=False)),
            r'^model\.decoder\.return_intermediate is False',
        ),
    ],
    ids=['head', 'no detector', 'decoder'],
)
def test_models_without_layers_are_refused(model: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_detector(model)


@pytest.mark.parametrize('metric', [CocoMetric(metric='proposal'), CocoMetric(format_only=True, outfile_prefix='a')])
def test_a_metric_of_boxes_is_needed(metric: CocoMetric) -> None:
    with pytest.raises(ConfigError, match=r'^test_evaluator has no metric that measures AP of boxes; nearest: dict\('):
        LayerEvaluator([Evaluator(metric)], [], '')
