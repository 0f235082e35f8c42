"""Windows of Swin transformers against the partition of MMSegmentation."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from kd_plugins.distillers import Batch
from kd_plugins.distillers.windows import Windows
from tests.distillers.transformers import swin


@pytest.mark.parametrize(('block', 'shift'), [(0, 0), (1, 2)])
def test_valid_tokens_are_those_of_the_image(block: int, shift: int) -> None:
    """A module's windows of a map that is 1 on the image, in a batch of 88 x 120 with images of other sizes."""
    model = swin()
    windows = Windows.around(model, f'backbone.stages.1.blocks.{block}.attn.w_msa.qkv', 'key')
    assert windows == Windows(side=4, shift=shift, stride=8)
    samples = [SimpleNamespace(metainfo={'img_shape': shape}) for shape in ((88, 120), (40, 100), (64, 9))]
    batch = Batch(torch.zeros(3, 3, 88, 120), samples)
    attention = model.backbone.stages[1].blocks[block].attn
    seen = []
    attention.w_msa.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    marks = torch.zeros(3, 11, 15, 24)
    for mark, (height, width) in zip(marks, ((88, 120), (40, 100), (64, 9))):
        mark[: -(-height // 8), : -(-width // 8)] = 1.0
    attention(marks.flatten(1, 2), (11, 15))
    valid = windows.valid(torch.zeros(36, 16, 9), batch)
    assert torch.equal(valid, seen[0][..., 0] > 0)


def test_whole_images_and_other_inputs() -> None:
    windows = Windows(side=2, shift=1, stride=4)
    batch = Batch(torch.zeros(2, 3, 16, 16), None)
    assert windows.valid(torch.zeros(8, 4, 3), batch).all()
    assert windows.valid(torch.zeros(8, 4, 3), Batch([torch.zeros(3)], None)) is None


def test_layers_without_windows() -> None:
    model = nn.Module()
    model.attn = nn.Module()
    model.attn.qkv = nn.Linear(2, 6)
    assert Windows.around(model, 'attn.qkv', 'key') is None
