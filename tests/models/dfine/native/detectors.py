"""The native D-FINE-N at the size of a test: few queries, small generated images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from mmdet.testing import demo_mm_inputs
from torch import nn

from tools.analysis.dfine_twins import ours

CLASSES = 3
NANO = partial(ours, 'n')


def small(seed: int = 0, build: Callable[..., Any] = NANO, **changes: Any) -> nn.Module:
    """Return a detector of 3 classes and 20 queries, initialized as a training does it, in training mode.

    Args:
        seed: Seed of the weights.
        build: Makes the detector for a number of classes and changes.
        changes: Values by their dotted keys below ``model``.
    """
    torch.manual_seed(seed)
    defaults = {'num_queries': 20, 'test_cfg.max_per_img': 10, 'dn_cfg.group_cfg.num_dn_queries': 10}
    model: nn.Module = build(CLASSES, **defaults | changes)
    model.init_weights()  # type: ignore[operator]
    return model.train()


def batch(model: nn.Module, numbers: list[int], shapes: list[tuple[int, int]] | None = None) -> dict[str, Any]:
    """Return generated images with some objects.

    Args:
        model: Its preprocessor packs the batch.
        numbers: Number of objects of each image.
        shapes: Height and width of each image.
    """
    sizes = [[3, *shape] for shape in shapes or [(64, 96)] * len(numbers)]
    return model.data_preprocessor(demo_mm_inputs(len(numbers), sizes, num_items=numbers, num_classes=CLASSES), True)


def losses(model: nn.Module, numbers: list[int], **options: Any) -> dict[str, torch.Tensor]:
    """Return the losses of a generated batch, with the same noise each time."""
    torch.manual_seed(3)
    return model(**batch(model, numbers, **options), mode='loss')
