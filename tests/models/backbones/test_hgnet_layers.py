"""Layers of HGNetV2 against values by hand."""

from __future__ import annotations

import torch
from torch import nn

from kd_plugins.models.backbones.hgnet_layers import Block, ConvNorm, LearnableAffine, Stage, StageSpec, Stem, pad_end

LIGHT = StageSpec(4, 3, 8, num_blocks=2, num_layers=2, kernel_size=5, light=True, downsample=True)


def test_affine_block_is_after_an_activation_only() -> None:
    affine = LearnableAffine()
    x = torch.tensor([-1.0, 2.0])
    assert torch.equal(affine(x), x)
    with torch.no_grad():
        affine.scale.fill_(3.0)
        affine.bias.fill_(-1.0)
    assert torch.equal(affine(x), torch.tensor([-4.0, 5.0]))
    plain, last = ConvNorm(2, 2, 1, use_lab=True), ConvNorm(2, 2, 1, activate=False, use_lab=True)
    assert isinstance(plain.lab, LearnableAffine)
    assert isinstance(last.lab, nn.Identity)
    assert [name for name, _ in plain.named_parameters()] == [
        'conv.weight', 'bn.weight', 'bn.bias', 'lab.scale', 'lab.bias'
    ]  # fmt: skip


def test_shapes_and_residuals() -> None:
    assert pad_end(torch.ones(1, 1, 2, 3)).sum((0, 1, 2)).tolist() == [2, 2, 2, 0]
    x = torch.randn(1, 4, 6, 10)
    stage = Stage(LIGHT, use_lab=False)
    assert stage(x).shape == (1, 8, 3, 5)
    assert [block.residual for block in stage.blocks] == [False, True]
    assert Stage(LIGHT._replace(downsample=False), use_lab=True)(x).shape == (1, 8, 6, 10)
    assert Stem(4, 6, use_lab=True)(torch.randn(1, 3, 32, 64)).shape == (1, 6, 8, 16)
    block = Block(8, LIGHT, residual=True, use_lab=False).eval()
    for parameter in block.aggregation.parameters():
        nn.init.zeros_(parameter)
    wide = torch.randn(1, 8, 4, 4)
    assert torch.equal(block(wide), wide)
