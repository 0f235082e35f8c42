"""A D-FINE-N with random weights, its checkpoint and a config, and an RT-DETR, at the size of a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from kd_plugins.deployment.images import smooth_images
from tools.analysis import rtdetr_twins
from tools.analysis.dfine_twins import ours, randomize

HEIGHT, WIDTH, CLASSES = 96, 128, 3
CONFIG = f"""
_base_ = 'kd_plugins::_base_/models/dfine_n.py'
default_scope = 'mmdet'
model = dict(num_queries=20, bbox_head=dict(num_classes={CLASSES}))
"""

NARROW: dict[str, Any] = {
    'num_queries': 20,
    'backbone.stem_channels': 16,
    'backbone.base_channels': 16,
    'neck.in_channels': [32, 64, 128],
    'decoder.num_layers': 3,
    'decoder.eval_idx': 1,
}
"""An RT-DETR with a narrow ResNet-18-vd, whose third decoder layer only trains."""


def detector(**changes: Any) -> Any:
    """Return a detector of 20 queries, whose weights and statistics are random, the same in each call.

    Args:
        changes: Values by their dotted keys below ``model``.
    """
    return randomized(lambda: ours('n', CLASSES, num_queries=20, **changes))


def rtdetr(**changes: Any) -> Any:
    """Return an RT-DETR like :func:`detector`."""
    return randomized(lambda: rtdetr_twins.ours('r18vd', CLASSES, **NARROW, **changes))


def randomized(build: Callable[[], Any]) -> Any:
    """Return the detector that a function builds, with random weights and statistics."""
    torch.manual_seed(0)  # biases keep their initialisation
    model, images = build(), smooth_images(HEIGHT, WIDTH)
    randomize(model, lambda: model.raw_predictions(images))
    return model


def files(folder: Path) -> tuple[Path, Path]:
    """Write a config and a checkpoint of :func:`detector`, and return both paths."""
    config, checkpoint = folder / 'config.py', folder / 'trained.pth'
    config.write_text(CONFIG)
    meta = {'dataset_meta': {'classes': ('a', 'b', 'c')}, 'epoch': 3, 'cfg': 'long'}
    torch.save({'meta': meta, 'state_dict': detector().state_dict()}, checkpoint)
    return config, checkpoint
