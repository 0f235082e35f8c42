"""Network, data and metric of the runs that ``tools/benchmark/kill.py`` kills."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset

SIDE = 12


@DATASETS.register_module()
class QuarterSquares(Dataset[dict[str, Tensor]]):
    """Noisy images with one bright quarter, which is the class; noise and brightness are drawn for every access.

    Args:
        length: Number of images.
        pause: Seconds that an access takes.
        noisy: Whether to draw noise and brightness.
    """

    metainfo = {'classes': ('north-west', 'north-east', 'south-west', 'south-east')}

    def __init__(self, length: int, pause: float = 0.0, noisy: bool = True) -> None:
        self.length = length
        self.pause = pause
        self.noisy = noisy

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        time.sleep(self.pause)
        label = index % 4
        half, row, column = SIDE // 2, label // 2, label % 2
        image = torch.randn(1, SIDE, SIDE, generator=torch.Generator().manual_seed(index)) * 0.5
        image[:, row * half : (row + 1) * half, column * half : (column + 1) * half] += 1.0
        if self.noisy:
            # One number of each generator that an augmentation may use.
            image = image * (0.5 + random.random()) + float(np.random.rand()) + 0.1 * torch.randn(image.shape)
        return {'inputs': image, 'labels': torch.tensor(label)}


@MODELS.register_module()
class QuarterClassifier(BaseModel):
    """Two convolutions with batch normalization, dropout and a linear layer.

    Args:
        width: Channels of the features.
        ballast: Numbers in a buffer without use, which make checkpoint files larger.
    """

    def __init__(self, width: int = 8, ballast: int = 0) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(width * (SIDE // 2) ** 2, 4)
        self.register_buffer('ballast', torch.zeros(ballast))

    def forward(self, inputs: Tensor, labels: Tensor, mode: str = 'tensor') -> Any:
        """Return logits, a dict of losses, or one dict of prediction and label per image."""
        logits = self.head(self.dropout(self.backbone(inputs)).flatten(1))
        if mode == 'loss':
            return {'loss_cls': cross_entropy(logits, labels)}
        if mode == 'predict':
            losses = cross_entropy(logits, labels, reduction='none')
            return [{'loss': float(loss), 'right': bool(x.argmax() == y)} for loss, x, y in zip(losses, logits, labels)]
        return logits


@METRICS.register_module()
class QuarterMetric(BaseMetric):
    """Accuracy and mean cross entropy."""

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep the predictions of a batch."""
        self.results.extend(data_samples)

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Return both metrics; the mean has the name of an error, because a name with ``loss`` is one of training."""
        count = len(results)
        right = sum(result['right'] for result in results)
        return {'accuracy': right / count, 'error': sum(result['loss'] for result in results) / count}
