"""ResNet-vd: the shortcut of the first stage, and what is frozen."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip('mmdet')

from mmdet.models.backbones import ResNetV1d
from torch import nn

from kd_plugins.models.rtdetr import ResNetVD
from tools.analysis.rtdetr_twins import ours


def test_every_stage_starts_with_a_convolution_in_the_shortcut() -> None:
    torch.manual_seed(0)
    model = ResNetVD(depth=18, base_channels=4, out_indices=(0,), norm_eval=False, init_cfg=None)
    plain = ResNetV1d(depth=18, base_channels=4)
    added = model.state_dict().keys() - plain.state_dict().keys()
    assert {name.rsplit('.', 1)[0] for name in added} == {f'layer1.0.downsample.{index}' for index in (1, 2)}
    assert all(getattr(model, f'layer{stage}')[0].downsample is not None for stage in range(1, 5))
    block, x = model.layer1[0].eval(), torch.randn(2, 4, 5, 7)
    residual = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu()))
    shortcut = block.downsample[2](block.downsample[1](x))
    torch.testing.assert_close(block(x), (residual + shortcut).relu())


def test_with_bottlenecks_it_is_the_plain_network() -> None:
    with torch.device('meta'):
        models = [cls(depth=50, base_channels=4) for cls in (ResNetVD, ResNetV1d)]
    assert models[0].state_dict().keys() == models[1].state_dict().keys()


def test_stem_and_norms_of_fifty_layers_are_frozen_as_in_the_release() -> None:
    with torch.device('meta'):
        deep, shallow = ours('r50vd').train().backbone, ours('r18vd').train().backbone
    frozen = {name for name, value in deep.named_parameters() if not value.requires_grad}
    norms = {name for name, module in deep.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert {name for name in frozen if name.rsplit('.', 1)[0] not in norms} == {
        'stem.0.weight',
        'stem.3.weight',
        'stem.6.weight',
    }
    assert all(f'{norm}.weight' in frozen and not deep.get_submodule(norm).training for norm in norms)
    assert all(value.requires_grad for value in shallow.parameters())
    assert all(module.training for module in shallow.modules() if isinstance(module, nn.BatchNorm2d))
