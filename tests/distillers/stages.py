"""Helpers for the tests of StageLocalizationDistiller: outputs of stages, and a head with two stages."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kd_plugins.distillers import Batch, StageLocalizationDistiller

BINS = 6
BATCH = Batch(torch.zeros(2, 3, 8, 8), None)


def distiller(**options: Any) -> StageLocalizationDistiller:
    return StageLocalizationDistiller(**{'logits': 'head.stages.*', 'key': 'distillers.stages', **options})


def outputs(*shape: int, stages: int = 3, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator).requires_grad_() for _ in range(stages)]


def value(made: StageLocalizationDistiller, logits: list[Tensor], scores: list[Tensor] | None = None) -> Tensor:
    taps = {'logits': logits}, {} if scores is None else {'scores': scores}
    made.initialize(*taps)
    losses = made(*taps, BATCH)
    assert tuple(losses) == made.loss_names
    actual = losses['loss_stages']
    assert actual.shape == () and actual.dtype == torch.float32 and actual.isfinite() and actual.requires_grad
    return actual


class TwoStages(nn.Module):
    """Two convolutional stages on two levels; the class layer runs in both."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, padding=1)
        self.reg = nn.ModuleList(nn.Conv2d(8, 4 * BINS, 1) for _ in range(2))
        self.mix = nn.Conv2d(8, 8, 1)
        self.cls = nn.Conv2d(8, 3, 1)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'loss') -> dict[str, Tensor]:
        feature = self.body(inputs)
        losses = []
        for reg in self.reg:
            feature = self.mix(feature).relu()
            for level in (feature, feature[..., ::2, ::2]):
                losses += [reg(level).square().mean(), self.cls(level).square().mean()]
        return {'loss': torch.stack(losses).sum()}


def images(boxes: int) -> tuple[Tensor, list[Any]]:
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    samples = []
    for _ in range(2):
        sample = DetDataSample(metainfo={'img_shape': (64, 64), 'batch_input_shape': (64, 64), 'pad_shape': (64, 64)})
        corners = torch.tensor([[8.0, 8.0, 30.0, 40.0]]).repeat(boxes, 1)
        sample.gt_instances = InstanceData(bboxes=corners, labels=torch.zeros(boxes, dtype=torch.long))
        samples.append(sample)
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)), samples
