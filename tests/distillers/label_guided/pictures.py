"""Batches of boxes with classes, for the tests of label-guided self-distillation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from kd_plugins.distillers import Batch


def labelled_batch(
    boxes: list[Any],
    labels: list[Any],
    sizes: list[tuple[int, int]] | None = None,
    size: tuple[int, int] = (64, 64),
    **step: int,
) -> Batch:
    """A batch of images with boxes and classes.

    Args:
        boxes: Corners of the boxes of each image.
        labels: Their classes.
        sizes: Height and width of each image; None is the whole input.
        size: Height and width of the input.
        step: Iteration, and so on.
    """
    samples = []
    for index, (corners, classes) in enumerate(zip(boxes, labels)):
        truth = SimpleNamespace(
            bboxes=torch.tensor(corners, dtype=torch.float32).view(-1, 4),
            labels=torch.tensor(classes, dtype=torch.long),
        )
        shape = size if sizes is None else sizes[index]
        samples.append(SimpleNamespace(metainfo={'img_shape': shape}, gt_instances=truth))
    return Batch(torch.zeros(len(boxes), 3, *size), samples, **step)
