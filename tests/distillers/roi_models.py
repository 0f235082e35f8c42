"""Small two-stage detectors of MMDetection."""

from __future__ import annotations

from typing import Any

import pytest

BASES = {
    'faster': 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'mask': 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'cascade': 'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    'cascade_mask': 'mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
}


def model_of(name: str, **changes: Any) -> Any:
    """Return the config of a narrow two-stage detector with three classes.

    Args:
        name: A key of :data:`BASES`.
        changes: Dotted path below ``model``, with ``__`` for a dot, to its value.
    """
    pytest.importorskip('mmdet')
    from kd_plugins.config.loading import load_config

    model = load_config(BASES[name]).model
    model.backbone.update(depth=18, base_channels=8, frozen_stages=-1, norm_eval=False, init_cfg=None)
    model.neck.update(in_channels=[8, 16, 32, 64], out_channels=16)
    model.rpn_head.update(in_channels=16, feat_channels=16)
    roi = model.roi_head
    roi.bbox_roi_extractor.out_channels = 16
    for head in roi.bbox_head if isinstance(roi.bbox_head, list) else [roi.bbox_head]:
        head.update(in_channels=16, fc_out_channels=32, num_classes=3)
    if roi.get('mask_head'):
        roi.mask_roi_extractor.out_channels = 16
        roi.mask_head.update(in_channels=16, conv_out_channels=16, num_convs=1, num_classes=3)
    stages = model.train_cfg.rcnn
    for stage in stages if isinstance(stages, list) else [stages]:
        stage.sampler.num = 16
    model.train_cfg.rpn_proposal.update(nms_pre=64, max_per_img=24)
    model.test_cfg.rpn.update(nms_pre=64, max_per_img=24)
    for path, value in changes.items():
        parts = path.split('__')
        node = model
        for part in parts[:-1]:
            node = node[part]
        node[parts[-1]] = value
    return model
