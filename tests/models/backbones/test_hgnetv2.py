"""HGNetV2 against transformers and timm, counts of parameters, freezing, weights and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.models.backbones.hgnetv2 import ARCHS, HGNetV2, stage_specs

RENAMED = {'embedder.': 'stem.', 'encoder.': '', '.convolution.': '.conv.', '.normalization.': '.bn.'}


def network_of_transformers(arch: str, out_indices: tuple[int, ...], use_lab: bool) -> Any:
    """Return transformers' network with random weights and statistics, in float64 and eval mode."""
    hgnet = pytest.importorskip('transformers.models.hgnet_v2')
    specs = stage_specs(ARCHS[arch])
    config = hgnet.HGNetV2Config(
        stem_channels=[3, *ARCHS[arch].stem],
        stage_in_channels=[spec.in_channels for spec in specs],
        stage_mid_channels=[spec.mid_channels for spec in specs],
        stage_out_channels=[spec.out_channels for spec in specs],
        stage_num_blocks=[spec.num_blocks for spec in specs],
        stage_numb_of_layers=[spec.num_layers for spec in specs],
        hidden_sizes=[spec.out_channels for spec in specs],
        use_learnable_affine_block=use_lab,
        out_indices=[index + 1 for index in out_indices],
    )
    torch.manual_seed(0)
    network = hgnet.HGNetV2Backbone(config).double().eval()
    for name, value in network.state_dict().items():
        if value.dim() > 1:
            value.normal_(std=(2 / value[0].numel()) ** 0.5)
        elif name.endswith(('weight', 'scale', 'running_var')):
            value.uniform_(0.8, 1.2)
        elif value.is_floating_point():
            value.normal_(std=0.1)
    return network


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    names = {}
    for name in state:
        new = name
        for old, own in RENAMED.items():
            new = new.replace(old, own)
        names[name] = new
    return {names[name]: value for name, value in state.items()}


@pytest.mark.parametrize(
    ('arch', 'out_indices', 'use_lab'),
    [('B0', (2, 3), True), ('B1', (0, 1, 2, 3), True), ('B2', (1, 2, 3), True), ('B4', (1, 2, 3), False)],
)
def test_features_are_those_of_transformers(arch: str, out_indices: tuple[int, ...], use_lab: bool) -> None:
    reference = network_of_transformers(arch, out_indices, use_lab)
    own = HGNetV2(arch, out_indices).double().eval()
    own.load_state_dict(renamed(reference.state_dict()))
    images = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        expected, features = reference(images).feature_maps, own(images)
    assert len(features) == len(expected) == len(out_indices)
    for value, other, stride, channels in zip(features, expected, own.strides, own.out_channels):
        assert value.shape == (1, channels, 64 // stride, 96 // stride)
        assert (value - other).abs().max() < 1e-12 * other.abs().max()


@pytest.mark.parametrize(
    ('arch', 'number'), [('B0', 1_850_396), ('B2', 6_026_626), ('B4', 13_507_680), ('B5', 33_231_840)]
)
def test_number_of_parameters_is_that_of_the_release(arch: str, number: int) -> None:
    with torch.device('meta'):
        backbone = HGNetV2(arch, frozen_norm=ARCHS[arch].use_lab is False)
    frozen = backbone.frozen_norm  # in the release, frozen norms have buffers and no parameters
    norms = {id(p) for m in backbone.modules() if isinstance(m, _BatchNorm) for p in m.parameters()}
    counted = [p.numel() for p in backbone.parameters() if not (frozen and id(p) in norms)]
    assert sum(counted) == number


@pytest.mark.parametrize('arch', list(ARCHS))
def test_names_and_shapes_are_those_of_timm(arch: str) -> None:
    timm = pytest.importorskip('timm')
    with torch.device('meta'):
        whole = timm.create_model(f'hgnetv2_{arch.lower()}').state_dict()
        own = HGNetV2(arch).state_dict()
    expected = {name: value.shape for name, value in whole.items() if not name.startswith('head.')}
    assert {name: value.shape for name, value in own.items()} == expected


def test_frozen_parts_have_no_gradients_and_keep_their_statistics() -> None:
    backbone = HGNetV2('B0', (1,), frozen_stem=True, frozen_norm=True).train()
    norms = [module for module in backbone.modules() if isinstance(module, _BatchNorm)]
    assert norms
    assert not any(norm.training or norm.weight.requires_grad for norm in norms)
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    backbone(torch.randn(2, 3, 32, 32))[0].sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in backbone.named_buffers())
    with_gradient = {name for name, p in backbone.named_parameters() if p.grad is not None}
    assert not any('.bn.' in name or name.startswith('stem.') for name in with_gradient)
    assert with_gradient == {name for name, p in backbone.named_parameters() if p.requires_grad}
    kept = HGNetV2('B0', (1,), norm_eval=True).train()
    assert not any(module.training for module in kept.modules() if isinstance(module, _BatchNorm))
    assert all(parameter.requires_grad for parameter in kept.parameters())
    assert all(module.training for module in HGNetV2('B0', (1,)).eval().train().modules())


def test_weights_of_a_file_with_a_classifier(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = HGNetV2('B0').state_dict()
    path = tmp_path / 'PPHGNetV2_B0_stage1.pth'
    torch.save({**source, 'head.fc.weight': torch.zeros(2, 2)}, path)
    backbone = HGNetV2('B0', out_indices=(1, 2), weights=str(path))
    backbone.init_weights()
    state = backbone.state_dict()
    assert 'stages.3.blocks.0.aggregation.1.conv.weight' not in state
    assert all(torch.equal(value, source[name]) for name, value in state.items())
    lacks = r"backbone.weights: '.*' lacks 'stages\.0\.blocks\.0\.layers\.3\..*' and \d+ more of the model 'HGNetV2-B2'"
    with pytest.raises(CheckpointError, match=lacks):
        HGNetV2('B2').load_weights(path)
    torch.save({'model': {name: value for name, value in source.items() if '.lab.' not in name}}, path)
    with pytest.raises(CheckpointError, match=r"lacks 'stem.stem1.lab.scale' and \d+ more of the model 'HGNetV2-B0'"):
        HGNetV2('B0').load_weights(path)
    HGNetV2('B0', use_lab=False).load_weights(path)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'arch': 'B7'}, r"backbone\.arch is 'B7'; nearest: 'B\d'"),
        ({'out_indices': (3, 4)}, r'backbone\.out_indices is \(3, 4\); expected ascending indices from 0 to 3'),
        ({'out_indices': ()}, r'backbone\.out_indices is \(\)'),
        ({'frozen_norm': 1}, r'backbone\.frozen_norm is 1; valid: True, False'),
    ],
)
def test_bad_arguments(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HGNetV2(**settings)


def test_synchronised_norms_stay_frozen() -> None:
    backbone = nn.SyncBatchNorm.convert_sync_batchnorm(HGNetV2('B0', (0,), frozen_norm=True)).train()
    norms = [module for module in backbone.modules() if isinstance(module, nn.SyncBatchNorm)]
    assert norms
    assert not any(norm.training or norm.weight.requires_grad for norm in norms)
