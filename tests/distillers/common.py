"""Helpers for the tests of the distillers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.distillers import BaseDistiller, Batch
from kd_plugins.errors import ConfigError


def sentence(match: str) -> Any:
    """Expect a ConfigError whose message matches a pattern."""
    return pytest.raises(ConfigError, match=match)


def make_batch(boxes: list[Any], img_shape: tuple[int, int] | None = (64, 64), size: int = 64) -> Batch:
    """A batch with one data sample per entry of ``boxes`` (``None``: a sample without ground truth)."""
    samples = []
    for box in boxes:
        sample = SimpleNamespace(metainfo={} if img_shape is None else {'img_shape': img_shape})
        if box is not None:
            truth = torch.as_tensor(box, dtype=torch.float32).reshape(-1, 4)
            sample.gt_instances = SimpleNamespace(bboxes=truth)
        samples.append(sample)
    return Batch(torch.zeros(len(boxes), 3, size, size), samples)


def taps(
    student_shapes: list[tuple[int, ...]], teacher_shapes: list[tuple[int, ...]] | None = None
) -> tuple[dict[str, list[Tensor]], dict[str, list[Tensor]]]:
    """Return random features of student and teacher, a tensor of each level."""
    shapes = student_shapes if teacher_shapes is None else teacher_shapes
    return {'student_tap': [torch.randn(s) for s in student_shapes]}, {'teacher_tap': [torch.randn(s) for s in shapes]}


def check_step(distiller: BaseDistiller, student: dict, teacher: dict, batch: Batch) -> dict[str, Tensor]:
    """Run one step and check what holds for every distiller; return the losses, detached."""
    leaves = [tensor.requires_grad_() for tensors in student.values() for tensor in tensors]
    losses = distiller(student, teacher, batch)
    assert tuple(losses) == distiller.loss_names
    for value in losses.values():
        assert value.shape == () and value.dtype == torch.float32 and value.isfinite() and value.requires_grad
    for leaf in leaves:
        leaf.grad = None
    torch.stack(list(losses.values())).sum().backward()
    for leaf in leaves:
        assert leaf.grad is not None and leaf.grad.isfinite().all()
    return {name: value.detach() for name, value in losses.items()}


def cascade() -> nn.Module:
    """A model whose RoI head is a Cascade R-CNN's, with two narrow stages."""
    registry = pytest.importorskip('mmdet.registry')
    from mmengine.config import ConfigDict

    heads = [
        dict(
            type='Shared2FCBBoxHead',
            in_channels=4,
            fc_out_channels=8,
            roi_feat_size=7,
            num_classes=3,
            reg_class_agnostic=True,
            bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2]),
        )
        for _ in range(2)
    ]
    stages = [
        dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=threshold, neg_iou_thr=threshold, min_pos_iou=threshold),
            sampler=dict(type='RandomSampler', num=12, pos_fraction=0.25),
            pos_weight=-1,
            debug=False,
        )
        for threshold in (0.5, 0.7)
    ]
    config = dict(
        type='CascadeRoIHead',
        num_stages=2,
        stage_loss_weights=[1.0, 0.5],
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
            out_channels=4,
            featmap_strides=[4],
        ),
        bbox_head=heads,
        train_cfg=stages,
    )
    model = nn.Module()
    model.roi_head = registry.MODELS.build(ConfigDict(config))
    return model
