"""Small detectors and pose estimators with predictions, for tests of pseudo labels."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope

from kd_plugins.registry import MODELS
from tests.distillers.keypoint.estimators import JOINTS, SIZE, estimator, simcc_head

CLASSES = 3
DETECTORS = ('faster', 'mask', 'retinanet', 'dino')
POSES: dict[str, dict[str, Any]] = {
    'simcc': {
        **simcc_head('SimCCHead'),
        'decoder': dict(type='SimCCLabel', input_size=SIZE, sigma=2.0, simcc_split_ratio=2.0),
    },
    'heatmap': dict(
        type='HeatmapHead',
        out_channels=JOINTS,
        deconv_out_channels=(8,),
        deconv_kernel_sizes=(4,),
        loss=dict(type='KeypointMSELoss', use_target_weight=True),
        decoder=dict(type='MSRAHeatmap', input_size=SIZE, heatmap_size=(4, 4), sigma=1.0),
    ),
    'rle': dict(
        type='RLEHead',
        num_joints=JOINTS,
        loss=dict(type='RLELoss', use_target_weight=True),
        decoder=dict(type='RegressionLabel', input_size=SIZE),
    ),
}


def _mmdet_config(name: str) -> Any:
    mmdet = pytest.importorskip('mmdet')
    path = Path(mmdet.__file__).parent / '.mim' / 'configs' / '_base_' / 'models' / name
    if not path.is_file():
        pytest.skip('this MMDetection has no configs')
    model = Config.fromfile(path).model
    model.backbone = dict(type='ResNet', depth=18, base_channels=8, norm_cfg=dict(type='BN'), num_stages=4)
    model.backbone['out_indices'] = (0, 1, 2, 3)
    model.neck.update(in_channels=[8, 16, 32, 64], out_channels=16)
    return model


def _two_stage(masks: bool) -> dict[str, Any]:
    model = _mmdet_config('mask-rcnn_r50_fpn.py' if masks else 'faster-rcnn_r50_fpn.py')
    model.rpn_head.update(in_channels=16, feat_channels=16)
    heads = model.roi_head
    heads.bbox_roi_extractor.out_channels = 16
    heads.bbox_head.update(in_channels=16, fc_out_channels=32, num_classes=CLASSES)
    if masks:
        heads.mask_roi_extractor.out_channels = 16
        heads.mask_head.update(in_channels=16, conv_out_channels=16, num_convs=1, num_classes=CLASSES)
    model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=10)
    model.test_cfg.rpn.update(nms_pre=50, max_per_img=30)
    model.train_cfg.rpn_proposal.update(nms_pre=50, max_per_img=30)
    return model.to_dict()


def _one_stage() -> dict[str, Any]:
    model = _mmdet_config('retinanet_r50_fpn.py')
    model.bbox_head.update(in_channels=16, feat_channels=16, stacked_convs=1, num_classes=CLASSES)
    model.test_cfg.update(score_thr=0.0, max_per_img=10)
    return model.to_dict()


def detector(name: str) -> Any:
    """Build a detector in training mode, whose first scores are spread out."""
    if name == 'dino':
        pytest.importorskip('mmdet')
        from tests.models.dfine.small_detectors import build, config

        model: Any = build(config('dino', fdr=False))
    else:
        made = _one_stage() if name == 'retinanet' else _two_stage(name == 'mask')
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = MODELS.build(ConfigDict(made))
        model.init_weights()
    return model.train()


def images(model: Any, seed: int = 0) -> tuple[torch.Tensor, list[Any]]:
    """Return two preprocessed images of different sizes, without objects and at half of their original size."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    generator = torch.Generator().manual_seed(seed)
    sizes = ((64, 96), (56, 80))
    samples = []
    for height, width in sizes:
        empty = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        meta = dict(img_shape=(height, width), ori_shape=(2 * height, 2 * width), scale_factor=(0.5, 0.5))
        samples.append(DetDataSample(gt_instances=empty, metainfo=meta))
    pixels = [torch.randint(256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes]
    data = model.data_preprocessor({'inputs': pixels, 'data_samples': samples}, True)
    return data['inputs'], data['data_samples']


def predicted(model: Any, inputs: torch.Tensor, samples: list[Any]) -> list[Any]:
    """Return predictions in the coordinates of the input, in eval mode."""
    model.eval()
    try:
        with torch.no_grad():
            copies: list[Any] = copy.deepcopy(samples)
            if 'input_size' in samples[0].metainfo:
                return list(model.predict(inputs, copies))
            return list(model.predict(inputs, copies, rescale=False))
    finally:
        model.train()


def total(losses: dict[str, Any]) -> torch.Tensor:
    """Return the sum of all losses."""
    listed = [value if isinstance(value, list) else [value] for key, value in losses.items() if 'loss' in key]
    return torch.stack([entry.mean() for value in listed for entry in value]).sum()


def pose(name: str) -> Any:
    """Build a pose estimator, whose predictions lie inside its input."""
    model: Any = estimator(POSES[name], 'GlobalAveragePooling' if name == 'rle' else None)
    if name == 'rle':
        torch.nn.init.constant_(model.head.fc.bias, 0.4)
    return model


def persons(count: int = 2) -> tuple[torch.Tensor, list[Any]]:
    """Return crops of persons without keypoints, as a pipeline without targets packs them."""
    import numpy as np
    from mmengine.structures import InstanceData
    from mmpose.structures import PoseDataSample

    samples = []
    for index in range(count):
        meta = dict(
            img_shape=(200, 300),
            input_size=SIZE,
            input_center=np.array([60.0 + index, 70.0], np.float32),
            input_scale=np.array([96.0, 128.0], np.float32),
            flip_indices=list(range(JOINTS)),
        )
        boxes = InstanceData(bboxes=np.array([[12, 6, 108, 134]], np.float32), bbox_scores=np.ones(1, np.float32))
        samples.append(PoseDataSample(gt_instances=boxes, metainfo=meta))
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, 64, 64, generator=generator), samples
