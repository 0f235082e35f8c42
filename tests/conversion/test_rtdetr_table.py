"""Names of RT-DETR's parameters: pairs by hand, both directions, and transformers' own names."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip('mmdet')

from kd_plugins.conversion.names import RTDETR, to_own, translate, unify_transformers
from kd_plugins.conversion.rtdetr_table import rules
from kd_plugins.conversion.sizes import RTDETR_SIZES
from tests.conversion.name_checks import assert_counterparts, fields_of
from tests.conversion.rtdetr_files import transformers_weights
from tools.analysis.rtdetr_twins import ours

THEIRS = 'model.backbone.model'
PAIRS = [  # the second release, transformers 5, here; six decoder layers
    ('backbone.conv1.conv1_2.conv.weight', f'{THEIRS}.embedder.embedder.1.conv.weight', 'backbone.stem.3.weight'),
    (
        'backbone.conv1.conv1_3.norm.running_var',
        f'{THEIRS}.embedder.embedder.2.bn.running_var',
        'backbone.stem.7.running_var',
    ),
    (
        'backbone.res_layers.2.blocks.5.branch2c.norm.bias',
        f'{THEIRS}.encoder.stages.2.layers.5.layer.2.bn.bias',
        'backbone.layer3.5.bn3.bias',
    ),
    (
        'backbone.res_layers.0.blocks.0.short.conv.weight',
        f'{THEIRS}.encoder.stages.0.layers.0.shortcut.conv.weight',
        'backbone.layer1.0.downsample.1.weight',
    ),
    (
        'backbone.res_layers.3.blocks.0.short.conv.norm.weight',
        f'{THEIRS}.encoder.stages.3.layers.0.shortcut.1.bn.weight',
        'backbone.layer4.0.downsample.2.weight',
    ),
    ('encoder.input_proj.2.conv.weight', 'model.encoder_input_proj.2.0.weight', 'neck.convs.2.conv.weight'),
    (
        'encoder.fpn_blocks.1.conv3.norm.bias',
        'model.encoder.fpn_blocks.1.conv3.norm.bias',
        'encoder.fpn_blocks.1.conv3.bn.bias',
    ),
    (
        'encoder.pan_blocks.0.bottlenecks.2.conv1.conv.weight',
        'model.encoder.pan_blocks.0.bottlenecks.2.conv1.conv.weight',
        'encoder.pan_blocks.0.bottlenecks.2.conv1.conv.weight',
    ),
    (
        'encoder.downsample_convs.1.norm.weight',
        'model.encoder.downsample_convs.1.norm.weight',
        'encoder.downsample_convs.1.bn.weight',
    ),
    ('decoder.input_proj.0.norm.weight', 'model.decoder_input_proj.0.1.weight', 'encoder.out_convs.0.bn.weight'),
    (
        'decoder.decoder.layers.4.cross_attn.value_proj.bias',
        'model.decoder.layers.4.encoder_attn.value_proj.bias',
        'decoder.layers.4.cross_attn.value_proj.bias',
    ),
    (
        'decoder.decoder.layers.4.norm2.weight',
        'model.decoder.layers.4.encoder_attn_layer_norm.weight',
        'decoder.layers.4.norms.1.weight',
    ),
    (
        'decoder.decoder.layers.4.norm3.weight',
        'model.decoder.layers.4.final_layer_norm.weight',
        'decoder.layers.4.norms.2.weight',
    ),
    (
        'decoder.dec_bbox_head.5.layers.1.bias',
        'model.decoder.bbox_embed.5.layers.1.bias',
        'bbox_head.reg_branches.5.2.bias',
    ),
    ('decoder.enc_bbox_head.layers.2.bias', 'model.enc_bbox_head.layers.2.bias', 'bbox_head.reg_branches.6.4.bias'),
    ('decoder.enc_output.proj.weight', 'model.enc_output.0.weight', 'memory_trans_fc.weight'),
]


@pytest.mark.parametrize(('release', 'transformers', 'own'), PAIRS, ids=[pair[2] for pair in PAIRS])
def test_names_by_hand(release: str, transformers: str, own: str) -> None:
    for name, layout in ((release, 'release'), (transformers, 'transformers')):
        assert translate(name, 6, layout, 'own', RTDETR) == own
        assert translate(own, 6, 'own', layout, RTDETR) == name


@pytest.mark.parametrize('size', list(RTDETR_SIZES))
def test_every_name_of_every_size_has_one_counterpart(size: str) -> None:
    with torch.device('meta'):
        model = ours(size)
    assert_counterparts(model, RTDETR)


@pytest.mark.parametrize('version', [1, 2])
def test_weights_of_transformers_get_the_names_of_the_detector(version: int) -> None:
    own, unknown = to_own(unify_transformers(transformers_weights(version)), 'transformers')
    assert not unknown
    ours('r18vd').load_state_dict(own, strict=True)


def test_templates_of_a_rule_have_the_same_fields() -> None:
    assert all(len(set(map(frozenset, fields_of(rule)))) == 1 for rule in rules(3))
    for column in zip(*rules(6)):
        assert len(set(column)) == len(column)
