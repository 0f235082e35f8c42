"""Images with a label for each cell of a decode head, and the head around its last layer."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from kd_plugins.distillers import Batch
from tests.distillers.common import make_batch


def labelled(images: int = 2, img_shape: tuple[int, int] = (64, 64), classes: int = 4) -> Batch:
    """Images of 64 x 64 whose cells of 4 x 4 pixels have one label each, 255 in the first row of cells."""
    batch = make_batch([None] * images, img_shape)
    labels = torch.randint(0, classes, (images, 1, 16, 16), generator=torch.Generator().manual_seed(2))
    labels[:, :, 0] = 255
    for sample, one in zip(batch.data_samples, labels):
        sample.gt_sem_seg = SimpleNamespace(data=one.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2))
    return batch


def cell_labels(batch: Batch) -> Tensor:
    return torch.stack([sample.gt_sem_seg.data[0, ::4, ::4] for sample in batch.data_samples])


def rows(outputs: dict, alias: str = 'logits') -> Tensor:
    return outputs[alias][0].detach().movedim(1, -1)


class Segmentor(nn.Module):
    def __init__(self, ignore_index: int = 255) -> None:
        super().__init__()
        self.decode_head = nn.ModuleDict({'conv_seg': nn.Conv2d(4, 4, 1)})
        self.decode_head.ignore_index = ignore_index
