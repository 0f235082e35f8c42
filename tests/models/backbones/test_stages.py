"""Which modules of timm's networks are the stem and the stages."""

from __future__ import annotations

import pytest
from torch import nn

import kd_plugins  # noqa: F401 (lets timm be imported without torchvision)

pytest.importorskip('timm')

from kd_plugins.models.backbones import create_network, find_stages


@pytest.mark.parametrize(
    ('model', 'stem', 'tokens', 'stages'),
    [
        ('tf_efficientnet_lite0', 2, 0, 7),  # convolution and norm; the entries of `blocks`
        ('resnet18', 4, 0, 4),  # `layer1` to `layer4`, members of the network itself
        ('regnetx_002', 1, 0, 4),  # `s1` to `s4`
        ('convnext_atto', 2, 0, 4),  # `stages.0` to `stages.3`, which timm's extractor renames to `stages_0`
        ('vit_tiny_patch16_224', 4, 2, 12),  # the network inside timm's extractor; class token and position embedding
    ],
)
def test_stages_of_timm(model: str, stem: int, tokens: int, stages: int) -> None:
    parts = find_stages(create_network(model))
    assert (len(parts.stem), len(parts.tokens), len(parts.stages)) == (stem, tokens, stages)


def test_what_follows_a_stage_belongs_to_it() -> None:
    names = ('conv', 'layer1', 'transition1', 'stage2', 'head')
    net = nn.ModuleDict({name: nn.Conv2d(1, 1, 1) for name in names})
    parts = find_stages(net)
    assert parts.stages == [[net['layer1'], net['transition1']], [net['stage2'], net['head']]]
    assert list(parts.first(1)) == [net['conv'], net['layer1'], net['transition1']]
    assert list(parts.first(0)) == [net['conv']]


def test_other_names_are_no_stages() -> None:
    net = nn.ModuleDict({'features_0': nn.Conv2d(1, 1, 1), 'downsample_layers': nn.Sequential(nn.Identity())})
    assert find_stages(net).stages == []
