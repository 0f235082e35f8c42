"""Table of the names of D-FINE's parameters here, in the release, and in transformers.

Sources: Peterande/D-FINE; transformers 5, ``models/d_fine``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

PATTERNS = {'part': r'fpn|pan', 'csp': r'conv[123]|bottlenecks\.\d+\.conv[12]', 'rest': r'.+'}
"""Regular expressions of the fields of a template; every other field is a number.

``twice`` is twice the number ``once`` of another layout: here, activations stand between the layers of a branch.
"""


class Rule(NamedTuple):
    """Templates of one name in each layout.

    Attributes:
        own: Here.
        release: In the release, and in the layouts that share its names.
        transformers: In transformers 5, with the names that :func:`unify_transformers` gives.
    """

    own: str
    release: str
    transformers: str


BACKBONE = [
    Rule('backbone.stem.{rest}', 'backbone.stem.{rest}', 'model.backbone.model.embedder.{rest}'),
    Rule('backbone.stages.{rest}', 'backbone.stages.{rest}', 'model.backbone.model.encoder.stages.{rest}'),
]

CONVOLUTIONS = [
    Rule('encoder.lateral_convs.{i}', 'encoder.lateral_convs.{i}', 'model.encoder.lateral_convs.{i}'),
    Rule('encoder.{part}_blocks.{i}.conv1', 'encoder.{part}_blocks.{i}.cv1', 'model.encoder.{part}_blocks.{i}.conv1'),
    Rule('encoder.{part}_blocks.{i}.conv2', 'encoder.{part}_blocks.{i}.cv2.1', 'model.encoder.{part}_blocks.{i}.conv2'),
    Rule('encoder.{part}_blocks.{i}.conv3', 'encoder.{part}_blocks.{i}.cv3.1', 'model.encoder.{part}_blocks.{i}.conv3'),
    Rule('encoder.{part}_blocks.{i}.conv4', 'encoder.{part}_blocks.{i}.cv4', 'model.encoder.{part}_blocks.{i}.conv4'),
    *(
        Rule(
            f'encoder.{{part}}_blocks.{{i}}.csp{number}.{{csp}}',
            f'encoder.{{part}}_blocks.{{i}}.cv{number + 1}.0.{{csp}}',
            f'model.encoder.{{part}}_blocks.{{i}}.csp_rep{number}.{{csp}}',
        )
        for number in (1, 2)
    ),
    *(
        Rule(
            f'encoder.downsample_convs.{{i}}.{number}',
            f'encoder.downsample_convs.{{i}}.0.cv{number + 1}',
            f'model.encoder.downsample_convs.{{i}}.conv{number + 1}',
        )
        for number in (0, 1)
    ),
]
"""Convolutions of the neck; ``.conv`` and ``.bn`` follow here, ``.conv`` and ``.norm`` elsewhere."""

PROJECTIONS = [
    Rule('neck.convs.{i}', 'encoder.input_proj.{i}', 'model.encoder_input_proj.{i}'),
    Rule('encoder.out_convs.{i}', 'decoder.input_proj.{i}', 'model.decoder_input_proj.{i}'),
]
"""Convolutions before and after the encoder; ``.0`` and ``.1`` follow in transformers."""

ATTENTION = [
    ('self_attn.attn.{rest}', 'self_attn.{rest}', 'self_attn.{rest}'),
    ('ffn.layers.0.0.{rest}', 'linear1.{rest}', 'mlp.layers.0.{rest}'),
    ('ffn.layers.1.{rest}', 'linear2.{rest}', 'mlp.layers.1.{rest}'),
    ('norms.0.{rest}', 'norm1.{rest}', 'self_attn_layer_norm.{rest}'),
]
"""Parts of a transformer layer; the names of further norms depend on the layer."""

ENCODER_LAYER = Rule(
    'encoder.aifi.{i}.layers.{k}', 'encoder.encoder.{i}.layers.{k}', 'model.encoder.aifi.{i}.layers.{k}'
)
DECODER_LAYER = Rule('decoder.layers.{k}', 'decoder.decoder.layers.{k}', 'model.decoder.layers.{k}')

DECODER = [
    Rule(
        'decoder.layers.{k}.cross_attn.{rest}',
        'decoder.decoder.layers.{k}.cross_attn.{rest}',
        'model.decoder.layers.{k}.encoder_attn.{rest}',
    ),
    Rule(
        'decoder.ref_point_head.layers.{i}.{rest}',
        'decoder.query_pos_head.layers.{i}.{rest}',
        'model.decoder.query_pos_head.layers.{i}.{rest}',
    ),
    Rule('memory_trans_fc.{rest}', 'decoder.enc_output.proj.{rest}', 'model.enc_output.0.{rest}'),
    Rule('memory_trans_norm.{rest}', 'decoder.enc_output.norm.{rest}', 'model.enc_output.1.{rest}'),
    Rule(
        'dn_query_generator.label_embedding.{rest}',
        'decoder.denoising_class_embed.{rest}',
        'model.denoising_class_embed.{rest}',
    ),
]

SCORES = Rule(
    'bbox_head.cls_branches.{i}.{rest}', 'decoder.dec_score_head.{i}.{rest}', 'model.decoder.class_embed.{i}.{rest}'
)

FDR = [
    Rule(
        'decoder.layers.{k}.gateway.{rest}',
        'decoder.decoder.layers.{k}.gateway.{rest}',
        'model.decoder.layers.{k}.gateway.{rest}',
    ),
    Rule(
        'bbox_head.reg_branches.0.{twice}.{rest}',
        'decoder.pre_bbox_head.layers.{once}.{rest}',
        'model.decoder.pre_bbox_head.layers.{once}.{rest}',
    ),
    Rule(
        'bbox_head.fdr.distributions.{i}.{twice}.{rest}',
        'decoder.dec_bbox_head.{i}.layers.{once}.{rest}',
        'model.decoder.bbox_embed.{i}.layers.{once}.{rest}',
    ),
    Rule(
        'bbox_head.fdr.qualities.{i}.branch.{twice}.{rest}',
        'decoder.decoder.lqe_layers.{i}.reg_conf.layers.{once}.{rest}',
        'model.decoder.lqe_layers.{i}.reg_conf.layers.{once}.{rest}',
    ),
]
"""Gates, initial boxes and distributions, which only D-FINE has."""


def proposal_heads(num_layers: int) -> list[Rule]:
    """Return the rules of the heads of the proposals, which here are the last branches.

    Args:
        num_layers: Number of decoder layers.
    """
    return [
        Rule(
            f'bbox_head.cls_branches.{num_layers}.{{rest}}',
            'decoder.enc_score_head.{rest}',
            'model.enc_score_head.{rest}',
        ),
        Rule(
            f'bbox_head.reg_branches.{num_layers}.{{twice}}.{{rest}}',
            'decoder.enc_bbox_head.layers.{once}.{rest}',
            'model.enc_bbox_head.layers.{once}.{rest}',
        ),
    ]


def convolution_rules(convolutions: Sequence[Rule], projections: Sequence[Rule]) -> list[Rule]:
    """Return the rules of convolutions and of the norms after them.

    Args:
        convolutions: Names of modules with ``.conv`` and ``.norm`` in transformers.
        projections: Names of modules with ``.0`` and ``.1`` in transformers.
    """
    built = []
    for rule_list, parts in ((convolutions, ('conv', 'norm')), (projections, ('0', '1'))):
        for own, release, other in rule_list:
            built.append(Rule(f'{own}.conv.{{rest}}', f'{release}.conv.{{rest}}', f'{other}.{parts[0]}.{{rest}}'))
            built.append(Rule(f'{own}.bn.{{rest}}', f'{release}.norm.{{rest}}', f'{other}.{parts[1]}.{{rest}}'))
    return built


def layer_rules(layer: Rule, *norms: tuple[str, str, str]) -> list[Rule]:
    """Return the rules of a transformer layer.

    Args:
        layer: Names of the layer.
        norms: Names of its norms after the first one, in the order of :class:`Rule`.
    """
    parts = [
        *ATTENTION,
        *((f'{own}.{{rest}}', f'{release}.{{rest}}', f'{other}.{{rest}}') for own, release, other in norms),
    ]
    return [Rule(*(f'{start}.{part}' for start, part in zip(layer, names))) for names in parts]


@cache
def rules(num_layers: int) -> tuple[Rule, ...]:
    """Return the whole table of D-FINE; the first rule that fits a name holds.

    Args:
        num_layers: Number of decoder layers.
    """
    return (
        *BACKBONE,
        *convolution_rules(CONVOLUTIONS, PROJECTIONS),
        *layer_rules(ENCODER_LAYER, ('norms.1', 'norm2', 'final_layer_norm')),
        *layer_rules(DECODER_LAYER, ('norms.1', 'norm3', 'final_layer_norm')),
        *DECODER,
        *proposal_heads(num_layers),
        SCORES,
        *FDR,
    )


__all__ = [
    'DECODER',
    'DECODER_LAYER',
    'ENCODER_LAYER',
    'PATTERNS',
    'PROJECTIONS',
    'SCORES',
    'Rule',
    'convolution_rules',
    'layer_rules',
    'proposal_heads',
    'rules',
]
