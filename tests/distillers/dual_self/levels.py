"""Helpers for the tests of DualSelfDistiller: levels of a U-shaped network, and labels."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from kd_plugins.distillers import Batch, DualSelfDistiller

CLASSES = 3
ENCODER = ['e0', 'e1', 'e2']
DECODER = ['d0', 'd1', 'd2']
Taps = dict[str, list[Tensor]]


def sample(labels: Tensor) -> SimpleNamespace:
    element = BaseDataElement(data=labels[None])
    return SimpleNamespace(gt_sem_seg=element, metainfo={})


def make_taps(dims: int, size: int = 16, images: int = 2, dtype: torch.dtype = torch.float64, seed: int = 0) -> Taps:
    """Levels of a U-shaped network, encoder at 1, 1/2, 1/4 and decoder at 1/8, 1/4, 1/2 of ``size``."""
    generator = torch.Generator().manual_seed(seed)

    def level(channels: int, stride: int) -> list[Tensor]:
        shape = (images, channels, *[size // stride] * dims)
        return [torch.randn(shape, generator=generator, dtype=dtype, requires_grad=True)]

    encoder = {f'encoder.{i}': level(4 * 2**i, 2**i) for i in range(3)}
    return encoder | {f'decoder.{i}': level(32 // 2**i, 8 // 2**i) for i in range(3)}


def make_batch(dims: int, size: int = 16, images: int = 2, ignore: int | None = 255, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (images, *[size] * dims), generator=generator)
    if ignore is not None:
        labels[:, 2:7] = ignore
    return Batch(torch.zeros(images, 1, *[size] * dims), [sample(image) for image in labels])


def labels_of(batch: Batch) -> Tensor:
    assert batch.data_samples is not None
    return torch.stack([one.gt_sem_seg.data[0] for one in batch.data_samples])


def made(taps: Taps, kind: type[DualSelfDistiller] = DualSelfDistiller, seed: int = 0, **options: Any) -> Any:
    """Return a distiller that has seen ``taps``, its parameters changed at random."""
    settings: dict[str, Any] = dict(encoder=ENCODER, decoder=DECODER, num_classes=CLASSES, ignore_index=255)
    distiller = kind(**{**settings, **options}, key='distillers.dsd')
    model = nn.Module()
    distiller.check_models(model, model)
    torch.manual_seed(seed)
    distiller.initialize(taps, {})
    with torch.no_grad():
        for param in distiller.parameters():
            param.add_(0.3 * torch.randn_like(param))
    return distiller
