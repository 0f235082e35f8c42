"""Small pose estimators with random weights, a person for them, and what their heads give."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from tests.distillers.keypoint.estimators import JOINTS, SIZE, simcc_head

SIMCC = dict(type='SimCCLabel', input_size=SIZE, sigma=(4.9, 5.66), simcc_split_ratio=2.0, normalize=False)
MSRA = dict(type='MSRAHeatmap', input_size=SIZE, heatmap_size=(16, 16), sigma=1.0)
UDP = dict(MSRA, type='UDPHeatmap')
REGRESSION = dict(type='RegressionLabel', input_size=SIZE)
HEATMAP = dict(
    type='HeatmapHead', out_channels=JOINTS, deconv_out_channels=(8, 8, 8), deconv_kernel_sizes=(4, 4, 4), decoder=MSRA
)
RLE = dict(type='RLEHead', num_joints=JOINTS, decoder=REGRESSION)


def estimator(head: dict[str, Any], seed: int = 0, neck: str | None = None, **test_cfg: Any) -> Any:
    """A small random estimator with large weights in its last layers, so that its predictions vary."""
    from mmpose.models import build_pose_estimator

    config: dict[str, Any] = dict(
        type='TopdownPoseEstimator',
        data_preprocessor=dict(type='PoseDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True),
        backbone=dict(type='ResNet', depth=18, base_channels=4, stem_channels=4),
        head=head if 'pose_cfg' in head else {'in_channels': 32, **head},
        test_cfg=test_cfg,
    )
    if neck:
        config['neck'] = dict(type=neck)
    torch.manual_seed(seed)
    model = build_pose_estimator(config).eval()
    for layer in (module for module in model.head.modules() if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))):
        nn.init.normal_(layer.weight, std=0.3)
    return model


def rle(seed: int = 0) -> Any:
    return estimator(RLE, seed, neck='GlobalAveragePooling')


def simcc(kind: str = 'RTMCCHead', seed: int = 0, **loss: Any) -> Any:
    return estimator({**simcc_head(kind, **loss), 'decoder': SIMCC}, seed)


def person(keypoints: bool = True, **more: Any) -> dict[str, Any]:
    """A person in an image, as a test pipeline packs it; the fourth joint is not annotated."""
    from mmengine.dataset import Compose

    rng = np.random.default_rng(3)
    pipeline = Compose(
        [
            dict(type='GetBBoxCenterScale'),
            dict(type='TopdownAffine', input_size=SIZE),
            dict(type='PackPoseInputs', pack_transformed=keypoints),
        ]
    )
    actual = dict(
        img=rng.integers(0, 255, (90, 120, 3)).astype(np.uint8),
        bbox=np.array([[20, 10, 80, 85]], np.float32),
        bbox_score=np.ones(1, np.float32),
        flip_indices=[0, 2, 1, 4, 3],
        **more,
    )
    if keypoints:
        actual['keypoints'] = rng.uniform(15, 80, (1, JOINTS, 2)).astype(np.float32)
        actual['keypoints_visible'] = np.array([[1, 1, 1, 0, 1]], np.float32)
    return pipeline(actual)


def outputs(model: Any, sample: dict[str, Any]) -> list[torch.Tensor]:
    """What the head gives, by the calls of a forward pass."""
    rgb = sample['inputs'].flip(0).float()[None]
    with torch.no_grad():
        actual = model.head.forward(model.extract_feat((rgb - 120.0) / 60.0))
    return [tensor[0] for tensor in (actual if isinstance(actual, tuple) else [actual])]
