"""Hybrid encoder against transformers, maps of any size, the switch to RT-DETR, errors."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip('mmdet')

from kd_plugins.errors import ConfigError
from kd_plugins.models.hybrid_encoder import HybridEncoder
from kd_plugins.models.hybrid_encoder.encoder import (
    IntraScaleAttention,
    check_levels_of_attention,
    check_widths,
    layer_config,
)

RENAMED = (
    (r'\.norm\.', '.bn.'),
    (r'csp_rep(\d)', r'csp\1'),
    (r'self_attn\.o_proj', 'self_attn.attn.out_proj'),
    (r'self_attn_layer_norm', 'norms.0'),
    (r'final_layer_norm', 'norms.1'),
    (r'mlp\.(layers\.0|fc1)\.', 'ffn.layers.0.0.'),
    (r'mlp\.(layers\.1|fc2)\.', 'ffn.layers.1.'),
    (r'downsample_convs\.(\d)\.conv1\.', r'downsample_convs.\1.0.'),
    (r'downsample_convs\.(\d)\.conv2\.', r'downsample_convs.\1.1.'),
)


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return transformers' weights of an encoder under the names used here."""
    own = {}
    for name, value in state.items():
        new = name
        for pattern, replacement in RENAMED:
            new = re.sub(pattern, replacement, new)
        own[new] = value
    for name in [name for name in own if 'q_proj' in name]:
        parts = [own.pop(name.replace('q_proj', f'{part}_proj')) for part in 'qkv']
        own[name.replace('q_proj.', 'attn.in_proj_')] = torch.cat(parts)
    return own


def randomized(model: nn.Module) -> nn.Module:
    """Return a model in float64 and eval mode, with random weights and statistics."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.ndim > 1:
                value.normal_(std=value[0].numel() ** -0.5)
            elif name.endswith(('weight', 'running_var')):
                value.uniform_(0.5, 1.5)
            elif value.is_floating_point():
                value.normal_(std=0.1)
    return model.double().eval()


def maps(channels: int, *sizes: tuple[int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, channels, *size, generator=generator, dtype=torch.float64) for size in sizes]


def reference(family: str, **settings: Any) -> nn.Module:
    """Return transformers' encoder of D-FINE or RT-DETR with maps of 32 channels."""
    transformers = pytest.importorskip('transformers')
    common = dict(encoder_hidden_dim=32, encoder_ffn_dim=48, encoder_in_channels=[32, 32, 32])
    if family == 'd_fine':
        from transformers.models.d_fine.modeling_d_fine import DFineHybridEncoder

        return DFineHybridEncoder(transformers.DFineConfig(**common, **settings))
    from transformers.models.rt_detr.modeling_rt_detr import RTDetrHybridEncoder

    return RTDetrHybridEncoder(transformers.RTDetrConfig(**common, **settings))


@pytest.mark.parametrize('height', [16, 8], ids=['square', 'rectangle'])
@pytest.mark.parametrize(
    ('family', 'theirs', 'ours'),
    [
        ('d_fine', dict(hidden_expansion=0.34, depth_mult=0.5), dict(expansion=0.34, num_blocks=2)),
        ('rt_detr', dict(hidden_expansion=0.5), dict(expansion=0.5, fusion='csp')),
        ('rt_detr', dict(hidden_expansion=1.0), dict(fusion='csp')),
    ],
)
def test_maps_are_those_of_transformers(family: str, theirs: Any, ours: Any, height: int) -> None:
    other = randomized(reference(family, **theirs))
    own = HybridEncoder([32] * 3, feedforward_channels=48, **ours).double().eval()
    own.load_state_dict(renamed(other.state_dict()))
    inputs = maps(32, (4 * height, 64), (2 * height, 32), (height, 16))
    with torch.no_grad():
        expected = other(inputs_embeds=list(inputs)).last_hidden_state
        actual = own(inputs)
    for value, wanted in zip(actual, expected, strict=True):
        assert (value - wanted).abs().max() < 1e-11


def test_maps_of_any_size_and_output_projections() -> None:
    encoder = HybridEncoder([16, 16], 16, num_blocks=1, out_channels=24).eval()
    inputs = [value.float() for value in maps(16, (7, 11), (4, 6))]
    outputs = encoder(inputs)
    assert [tuple(value.shape) for value in outputs] == [(2, 24, 7, 11), (2, 24, 4, 6)]
    assert encoder.out_channels == 24 and HybridEncoder([16, 16], 16).out_channels == 16
    sum(value.sum() for value in outputs).backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    attention = IntraScaleAttention(2, layer_config(16, 4, 8, dict(type='ReLU')))
    assert attention(inputs[1]).shape == inputs[1].shape


def test_starts_with_the_defaults_of_pytorch() -> None:
    encoder = HybridEncoder([32, 32], 16)
    encoder.init_weights()
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            bound = module.weight[0].numel() ** -0.5
            assert 0.8 * bound < module.weight.abs().max() <= bound


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        (dict(in_channels=[16, 32]), r'model\.encoder\.in_channels is \[16, 32\]; expected the equal channels'),
        (dict(in_channels=[18, 18]), r'has maps of 18 channels; valid: a multiple of 4 and of num_heads, 8'),
        (dict(fusion='pan'), r"model\.encoder\.fusion is 'pan'; "),
        (
            dict(attention_levels=(2,)),
            r'model\.encoder\.attention_levels is \(2,\); expected different',
        ),
        (dict(num_blocks=-1), r'model\.encoder\.num_blocks is -1'),
    ],
)
def test_bad_arguments(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        HybridEncoder(**{'in_channels': [16, 16], **settings})


def test_number_of_maps_must_fit() -> None:
    with pytest.raises(ConfigError, match='in_channels has 2 entries, but the neck gives 3 maps'):
        HybridEncoder([16, 16], 16)([torch.zeros(1, 16, 4, 4)] * 3)
    with pytest.raises(ConfigError, match=r'has maps of 16 channels, but the neck gives \[16, 8\]; make both equal'):
        HybridEncoder([16, 16], 16)([torch.zeros(1, width, 4, 4) for width in (16, 8)])
    assert check_widths((8, 8)) == (8, 2)
    assert check_levels_of_attention((-1, 0), 3) == [2, 0]
    with pytest.raises(ConfigError, match='expected different indices'):
        check_levels_of_attention((-1, 2), 3)


def test_attention_leaves_padding_out() -> None:
    attention = randomized(IntraScaleAttention(1, layer_config(32, 4, 64, dict(type='GELU'))))
    (features,) = maps(32, (3, 4))
    mask = torch.zeros(2, 3, 4, dtype=torch.bool)
    mask[1, 2:], mask[1, :, 3:] = True, True
    attended = attention(features, mask)
    torch.testing.assert_close(attended[0], attention(features)[0])
    torch.testing.assert_close(attended[1, :, :2, :3], attention(features[1:, :, :2, :3])[0])
