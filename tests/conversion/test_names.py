"""Names of D-FINE's parameters: pairs by hand, both directions, and transformers' own names."""

from __future__ import annotations

import pytest
import torch

from kd_plugins.conversion.name_table import rules
from kd_plugins.conversion.names import (
    DFINE,
    constants,
    expression,
    join_projections,
    number_of_layers,
    to_own,
    translate,
    unify_transformers,
)
from tests.conversion.files import twin
from tests.conversion.name_checks import assert_counterparts
from tools.analysis.dfine_twins import ours, theirs

PAIRS = [  # the release, transformers 5, here; four decoder layers
    (
        'backbone.stages.2.blocks.0.layers.1.conv2.bn.running_var',
        'model.backbone.model.encoder.stages.2.blocks.0.layers.1.conv2.bn.running_var',
        'backbone.stages.2.blocks.0.layers.1.conv2.bn.running_var',
    ),
    ('encoder.input_proj.1.norm.bias', 'model.encoder_input_proj.1.1.bias', 'neck.convs.1.bn.bias'),
    (
        'encoder.encoder.0.layers.0.self_attn.in_proj_weight',
        'model.encoder.aifi.0.layers.0.self_attn.in_proj_weight',
        'encoder.aifi.0.layers.0.self_attn.attn.in_proj_weight',
    ),
    (
        'encoder.encoder.0.layers.0.norm2.bias',
        'model.encoder.aifi.0.layers.0.final_layer_norm.bias',
        'encoder.aifi.0.layers.0.norms.1.bias',
    ),
    (
        'encoder.fpn_blocks.1.cv2.0.bottlenecks.2.conv1.norm.weight',
        'model.encoder.fpn_blocks.1.csp_rep1.bottlenecks.2.conv1.norm.weight',
        'encoder.fpn_blocks.1.csp1.bottlenecks.2.conv1.bn.weight',
    ),
    (
        'encoder.pan_blocks.0.cv3.1.conv.weight',
        'model.encoder.pan_blocks.0.conv3.conv.weight',
        'encoder.pan_blocks.0.conv3.conv.weight',
    ),
    (
        'encoder.downsample_convs.1.0.cv2.norm.bias',
        'model.encoder.downsample_convs.1.conv2.norm.bias',
        'encoder.downsample_convs.1.1.bn.bias',
    ),
    ('decoder.input_proj.2.conv.weight', 'model.decoder_input_proj.2.0.weight', 'encoder.out_convs.2.conv.weight'),
    ('decoder.enc_output.norm.weight', 'model.enc_output.1.weight', 'memory_trans_norm.weight'),
    ('decoder.enc_score_head.bias', 'model.enc_score_head.bias', 'bbox_head.cls_branches.4.bias'),
    ('decoder.enc_bbox_head.layers.2.bias', 'model.enc_bbox_head.layers.2.bias', 'bbox_head.reg_branches.4.4.bias'),
    (
        'decoder.pre_bbox_head.layers.1.bias',
        'model.decoder.pre_bbox_head.layers.1.bias',
        'bbox_head.reg_branches.0.2.bias',
    ),
    ('decoder.dec_score_head.3.weight', 'model.decoder.class_embed.3.weight', 'bbox_head.cls_branches.3.weight'),
    (
        'decoder.decoder.lqe_layers.3.reg_conf.layers.1.weight',
        'model.decoder.lqe_layers.3.reg_conf.layers.1.weight',
        'bbox_head.fdr.qualities.3.branch.2.weight',
    ),
    (
        'decoder.decoder.layers.3.cross_attn.sampling_offsets.bias',
        'model.decoder.layers.3.encoder_attn.sampling_offsets.bias',
        'decoder.layers.3.cross_attn.sampling_offsets.bias',
    ),
    (
        'decoder.decoder.layers.3.norm3.weight',
        'model.decoder.layers.3.final_layer_norm.weight',
        'decoder.layers.3.norms.1.weight',
    ),
    (
        'decoder.decoder.layers.0.linear2.bias',
        'model.decoder.layers.0.mlp.layers.1.bias',
        'decoder.layers.0.ffn.layers.1.bias',
    ),
]


@pytest.mark.parametrize(('release', 'transformers', 'own'), PAIRS, ids=[pair[0] for pair in PAIRS])
def test_names_by_hand(release: str, transformers: str, own: str) -> None:
    for name, layout in ((release, 'release'), (transformers, 'transformers')):
        assert translate(name, 4, layout, 'own') == own
    assert translate(own, 4, 'own', 'release') == release
    assert translate(own, 4, 'own', 'transformers') == transformers


@pytest.mark.parametrize('size', ['n', 's', 'm', 'l', 'x'])
def test_every_name_of_every_size_has_one_counterpart(size: str) -> None:
    with torch.device('meta'):
        model = ours(size)
    names, layers = list(model.state_dict()), model.decoder.num_layers
    assert_counterparts(model, DFINE)
    frozen = [name for name in names if model.backbone.frozen_norm and name.startswith('backbone.')]
    counters = [name for name in frozen if name.endswith('num_batches_tracked')]
    # Files of the release hold six constants more, one for each decoder layer, and no counters of frozen norms.
    assert len(names) - len(counters) + 6 + layers == {'n': 674, 's': 794, 'm': 1053, 'l': 1173, 'x': 1441}[size]


@pytest.mark.parametrize('size', ['n', pytest.param('x', marks=pytest.mark.slow)])
def test_weights_of_transformers_get_the_names_of_the_detector(size: str) -> None:
    state = twin().state_dict() if size == 'n' else theirs(size).state_dict()
    own, unknown = to_own(unify_transformers(state), 'transformers')
    assert not unknown
    ours(size).load_state_dict(own, strict=True)
    # Queries, keys and values in this order.
    parts = [state[f'model.encoder.aifi.0.layers.0.self_attn.{part}_proj.weight'] for part in 'qkv']
    assert torch.equal(own['encoder.aifi.0.layers.0.self_attn.attn.in_proj_weight'], torch.cat(parts))


def test_heads_inside_the_decoder_are_preferred() -> None:
    inner, outer = torch.ones(1), torch.zeros(1)
    both = {'model.decoder.class_embed.0.bias': inner, 'class_embed.0.bias': outer}
    for state in (both, dict(reversed(both.items()))):
        assert unify_transformers(state) == {'model.decoder.class_embed.0.bias': inner}
    assert unify_transformers({'class_embed.0.bias': outer}) == {'model.decoder.class_embed.0.bias': outer}


def test_constants_and_unknown_names() -> None:
    state = {
        'decoder.decoder.reg_scale': torch.tensor([8.0]),
        'decoder.anchors': torch.zeros(1),
        'a.x': torch.ones(1),
    }
    assert constants(state) == {'up': [], 'reg_scale': [8.0]}
    assert to_own(state, 'release') == ({}, ['a.x'])
    parts = {f'a.self_attn.{part}_proj.bias': torch.ones(1) for part in 'qk'}
    assert join_projections(parts) == parts, 'an incomplete attention stays, and is reported as unknown'
    assert number_of_layers([]) == 0
    assert expression('a.{i}').fullmatch('a.x') is None


def test_table_has_no_rule_twice() -> None:
    for column in zip(*rules(6)):
        assert len(set(column)) == len(column)
