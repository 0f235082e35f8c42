"""Helpers for the tests of the keypoint distillers: labelled batches, and MMPose's heads on a small backbone."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from kd_plugins.distillers import BaseDistiller, Batch
from kd_plugins.hooks.session import DistillSession
from kd_plugins.registry import MODELS
from kd_plugins.teachers import EMATeacher

SIZE = (48, 64)
"""Width and height of the network input."""
JOINTS = 5
WEIGHT = torch.tensor([[1.0, 0.0, 1.0, 0.5, 0.0], [0.0, 1.0, 1.0, 1.0, 1.0]])
"""Keypoint weights of two images."""


def labelled(weight: Tensor | None, images: int = 2) -> Batch:
    """A batch with one data sample per row of ``weight``, or ``images`` samples without labels."""
    if weight is None:
        return Batch(torch.zeros(images, 3, 8, 8), [SimpleNamespace() for _ in range(images)])
    rows = [SimpleNamespace(gt_instance_labels=SimpleNamespace(keypoint_weights=row[None])) for row in weight]
    return Batch(torch.zeros(len(rows), 3, 8, 8), rows)


def simcc_head(kind: str, **loss: Any) -> dict[str, Any]:
    common = {'out_channels': JOINTS, 'input_size': SIZE, 'simcc_split_ratio': 2.0, 'in_featuremap_size': (2, 2)}
    loss = {'type': 'KLDiscretLoss', 'use_target_weight': True, **loss}
    if kind == 'SimCCHead':
        return {'type': kind, 'deconv_out_channels': None, 'loss': loss, **common}
    gau = dict(hidden_dims=16, s=8, expansion_factor=2, dropout_rate=0.0, drop_path=0.0, act_fn='SiLU')
    gau.update(use_rel_bias=False, pos_enc=False)
    return {
        'type': kind,
        'gau_cfg': gau,
        'final_layer_kernel_size': 1,
        'loss': {**loss, 'label_softmax': True},
        **common,
    }


def estimator(head: Mapping[str, Any], neck: str | None = None) -> nn.Module:
    """A TopdownPoseEstimator with a ResNet-18 of 4 to 32 channels, which gives maps of 2x2."""
    models = pytest.importorskip('mmpose.models')
    config: dict[str, Any] = {
        'backbone': {'type': 'ResNet', 'depth': 18, 'base_channels': 4, 'stem_channels': 4},
        'head': {'in_channels': 32, **head},
    }
    if neck is not None:
        config['neck'] = {'type': neck}
    torch.manual_seed(0)
    # Another test may have left another package's scope behind.
    with DefaultScope.overwrite_default_scope('mmpose'):
        return models.build_pose_estimator({'type': 'TopdownPoseEstimator', **config}).train()


def samples(images: int = 2) -> dict[str, Any]:
    """Input and data samples with every kind of label."""
    testing = pytest.importorskip('mmpose.testing')
    packed = testing.get_packed_inputs(
        images, num_keypoints=JOINTS, img_shape=SIZE[::-1], input_size=SIZE, heatmap_size=(4, 4)
    )
    for sample, weight in zip(packed['data_samples'], WEIGHT):
        sample.gt_instance_labels.keypoint_weights = weight[None].clone()
    generator = torch.Generator().manual_seed(1)
    # Two maps of 2x2: the backbone divides by 32.
    return {'inputs': torch.randn(images, 3, 64, 64, generator=generator), 'data_samples': packed['data_samples']}


def distilled(student: nn.Module, config: dict[str, Any]) -> dict[str, Tensor]:
    """Run one training step through the hook's session, taught by a disturbed copy, and return the losses."""
    distiller = MODELS.build({**config, 'key': 'distillers.pose'})
    assert isinstance(distiller, BaseDistiller)
    teacher = EMATeacher()
    teacher.prepare(student)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for value in teacher.model.parameters():
            value.add_(0.1 * torch.randn(value.shape, generator=generator))
    session = DistillSession(student, {'pose': distiller}, {'teacher': teacher}, lambda: None)
    session.weights = {'pose': 1.0}
    try:
        losses = student(**samples(), mode='loss')
        losses['distill.pose.loss_kpt'].backward()
    finally:
        session.detach()
    assert all(value.grad is None for value in teacher.model.parameters())
    return losses
