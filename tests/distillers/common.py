"""What the distillers' tests share."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from kd_plugins.distillers import BaseDistiller, Batch


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
