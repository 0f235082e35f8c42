"""Table of the names of RT-DETR's parameters here, in the release, and in transformers.

Sources: lyuwenyu/RT-DETR, both versions; transformers 5, ``models/rt_detr`` and ``models/rt_detr_v2``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from .name_table import (
    DECODER,
    DECODER_LAYER,
    ENCODER_LAYER,
    PROJECTIONS,
    SCORES,
    Rule,
    convolution_rules,
    layer_rules,
    proposal_heads,
)

THEIRS = 'model.backbone.model'
"""Start of the names of transformers' backbone."""

CONVOLUTIONS = [
    Rule('encoder.lateral_convs.{i}', 'encoder.lateral_convs.{i}', 'model.encoder.lateral_convs.{i}'),
    Rule('encoder.downsample_convs.{i}', 'encoder.downsample_convs.{i}', 'model.encoder.downsample_convs.{i}'),
    Rule('encoder.{part}_blocks.{i}.{csp}', 'encoder.{part}_blocks.{i}.{csp}', 'model.encoder.{part}_blocks.{i}.{csp}'),
]
"""Convolutions of the neck; ``.conv`` and ``.bn`` follow here, ``.conv`` and ``.norm`` elsewhere."""

BOXES = Rule(
    'bbox_head.reg_branches.{i}.{twice}.{rest}',
    'decoder.dec_bbox_head.{i}.layers.{once}.{rest}',
    'model.decoder.bbox_embed.{i}.layers.{once}.{rest}',
)


def backbone() -> Iterator[tuple[str, str, str, str]]:
    """Yield the names of convolution and norm here, and of the module with both in the release and in transformers.

    The first shortcut of the first stage has no pooling layer in the release and in transformers; here it has a
    placeholder.
    """
    for number in range(3):
        theirs = f'{THEIRS}.embedder.embedder.{number}'
        own = (f'backbone.stem.{3 * number}', f'backbone.stem.{3 * number + 1}')
        yield *own, f'backbone.conv1.conv1_{number + 1}', theirs
    for stage in range(4):
        own_block = f'backbone.layer{stage + 1}.{{i}}'
        block = f'backbone.res_layers.{stage}.blocks.{{i}}'
        layer = f'{THEIRS}.encoder.stages.{stage}.layers.{{i}}'
        for number, letter in enumerate('abc'):
            own = (f'{own_block}.conv{number + 1}', f'{own_block}.bn{number + 1}')
            yield *own, f'{block}.branch2{letter}', f'{layer}.layer.{number}'
        after_pool = ('.conv', '.1') if stage else ('', '')
        own = (f'{own_block}.downsample.1', f'{own_block}.downsample.2')
        yield *own, f'{block}.short{after_pool[0]}', f'{layer}.shortcut{after_pool[1]}'


@cache
def rules(num_layers: int) -> tuple[Rule, ...]:
    """Return the whole table of RT-DETR; the first rule that fits a name holds.

    Args:
        num_layers: Number of decoder layers.
    """
    built = []
    for conv, norm, release, other in backbone():
        built.append(Rule(f'{conv}.{{rest}}', f'{release}.conv.{{rest}}', f'{other}.conv.{{rest}}'))
        built.append(Rule(f'{norm}.{{rest}}', f'{release}.norm.{{rest}}', f'{other}.bn.{{rest}}'))
    return (
        *built,
        *convolution_rules(CONVOLUTIONS, PROJECTIONS),
        *layer_rules(ENCODER_LAYER, ('norms.1', 'norm2', 'final_layer_norm')),
        *layer_rules(
            DECODER_LAYER, ('norms.1', 'norm2', 'encoder_attn_layer_norm'), ('norms.2', 'norm3', 'final_layer_norm')
        ),
        *DECODER,
        *proposal_heads(num_layers),
        SCORES,
        BOXES,
    )


__all__ = ['rules']
