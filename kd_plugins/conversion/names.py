"""Translation of the names of D-FINE's parameters between the release, transformers and this package.

Source of the names in transformers 4: ``conversion_mapping.py`` of transformers 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import torch
from torch import Tensor

from .name_table import PATTERNS, rules


@cache
def expression(template: str) -> re.Pattern[str]:
    """Return the regular expression of a template.

    >>> expression('decoder.layers.{k}.{rest}').fullmatch('decoder.layers.10.norm.bias').groupdict()
    {'k': '10', 'rest': 'norm.bias'}
    """
    parts = re.split(r'\{(\w+)\}', template)
    fields = [f'(?P<{name}>{PATTERNS.get(name, "[0-9]+")})' for name in parts[1::2]]
    return re.compile(''.join(re.escape(text) + field for text, field in zip(parts[::2], [*fields, ''])))


def translate(name: str, num_layers: int, source: str, target: str) -> str | None:
    """Return a name of one layout in another one, ``None`` where the table has no rule for it.

    Args:
        name: The name.
        num_layers: Number of decoder layers.
        source: Its layout: ``'own'``, ``'release'`` or ``'transformers'``.
        target: The layout to translate to.

    >>> translate('decoder.dec_bbox_head.1.layers.2.bias', 3, 'release', 'own')
    'bbox_head.fdr.distributions.1.4.bias'
    >>> translate('bbox_head.cls_branches.3.bias', 3, 'own', 'transformers')
    'model.enc_score_head.bias'
    """
    for rule in rules(num_layers):
        match = expression(getattr(rule, source)).fullmatch(name)
        if match is not None:
            fields = match.groupdict()
            if 'once' in fields:
                fields['twice'] = str(2 * int(fields['once']))
            elif 'twice' in fields:
                fields['once'] = str(int(fields['twice']) // 2)
            return str(getattr(rule, target)).format(**fields)
    return None


DROPPED = re.compile(
    r'decoder\.(anchors|valid_mask)|(model\.)?decoder(\.decoder)?\.(up|reg_scale)|.*\.num_points_scale|.*\.n_points_scale'
)
"""Constants that follow from the config; ``up`` and ``reg_scale`` are compared with it."""
TRAIN_ONLY = re.compile(r'encoder\.feature_projector\..*')
"""Projection of RT-DETRv4's features to those of a foundation model, which prediction does not use."""

OLDER = (
    (r'^(class_embed|bbox_embed)\.', r'model.decoder.\1.'),  # twins of the heads inside the decoder
    (r'layers\.(\d+)\.fc1\.', r'layers.\1.mlp.layers.0.'),
    (r'layers\.(\d+)\.fc2\.', r'layers.\1.mlp.layers.1.'),
    (r'encoder\.encoder\.(\d+)\.layers', r'encoder.aifi.\1.layers'),
    (r'self_attn\.o_proj\.', 'self_attn.out_proj.'),
)
"""Names of transformers 4 to those of transformers 5, but for ``out_proj``, which is also the release's."""
BACKBONE_LAYERS = ((r'\.convolution\.', '.conv.'), (r'\.normalization\.', '.bn.'))
"""Names inside the backbone of transformers."""
PROJECTED = ('q', 'k', 'v')


def unify_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a file of transformers 4 or 5 under the names that :data:`Rule.transformers` expects.

    Queries, keys and values of a self attention become one tensor, as in PyTorch's ``MultiheadAttention``.

    Args:
        state: Name to tensor.
    """
    unified: dict[str, Tensor] = {}
    for name in sorted(state, key=len):  # shorter names, such as the twins of the heads, do not replace longer ones
        new = name
        for pattern, replacement in (*OLDER, *(BACKBONE_LAYERS if name.startswith('model.backbone.') else ())):
            new = re.sub(pattern, replacement, new)
        unified[new] = state[name]
    return join_projections(unified)


def join_projections(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with ``q_proj``, ``k_proj`` and ``v_proj`` of each self attention as one ``in_proj``.

    >>> parts = {f'self_attn.{part}_proj.bias': torch.full((1,), i) for i, part in enumerate('qkv')}
    >>> join_projections(parts)
    {'self_attn.in_proj_bias': tensor([0, 1, 2])}
    """
    joined: dict[str, Tensor] = {}
    for name, value in state.items():
        match = re.fullmatch(r'(.*self_attn\.)([qkv])_proj\.(weight|bias)', name)
        if match is None:
            joined[name] = value
            continue
        start, part, leaf = match.groups()
        names = [f'{start}{other}_proj.{leaf}' for other in PROJECTED]
        if not all(other in state for other in names):
            joined[name] = value  # an incomplete file; the name shows up as unknown
        elif part == PROJECTED[0]:
            joined[f'{start}in_proj_{leaf}'] = torch.cat([state[other] for other in names])
    return joined


def number_of_layers(names: Iterable[str]) -> int:
    """Return the number of decoder layers of a file, 0 where it has no decoder.

    >>> number_of_layers(['decoder.decoder.layers.0.norm1.bias', 'model.decoder.layers.5.norm1.bias'])
    6
    """
    matches = (re.match(r'(?:model\.decoder|decoder\.decoder)\.layers\.(\d+)\.', name) for name in names)
    return max((int(match[1]) + 1 for match in matches if match), default=0)


def to_own(state: Mapping[str, Tensor], layout: str) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors of a file under the names used here, and the names that are unknown.

    Constants and parts that only train are left out.

    Args:
        state: Name to tensor, for transformers from :func:`unify_transformers`.
        layout: ``'release'`` or ``'transformers'``.
    """
    num_layers = number_of_layers(state)
    own: dict[str, Tensor] = {}
    unknown = []
    for name, value in state.items():
        if DROPPED.fullmatch(name) or TRAIN_ONLY.fullmatch(name):
            continue
        new = translate(name, num_layers, layout, 'own')
        if new is None:
            unknown.append(name)
        else:
            own[new] = value
    return own, unknown


def constants(state: Mapping[str, Tensor]) -> dict[str, Sequence[float]]:
    """Return ``up`` and ``reg_scale`` of a file, with each value that it holds for them.

    >>> constants({'decoder.up': torch.tensor([0.5]), 'decoder.decoder.up': torch.tensor([0.5])})
    {'up': [0.5, 0.5], 'reg_scale': []}
    """
    held: dict[str, list[float]] = {'up': [], 'reg_scale': []}
    for name, value in state.items():
        match = re.fullmatch(r'(?:model\.)?decoder(?:\.decoder)?\.(up|reg_scale)', name)
        if match:
            held[match[1]] += value.flatten().tolist()
    return dict(held)


__all__ = [
    'constants',
    'expression',
    'join_projections',
    'number_of_layers',
    'to_own',
    'translate',
    'unify_transformers',
]
