"""Translation of the names of D-FINE's and RT-DETR's parameters between the release, transformers and this package.

Source of the names in transformers 4: ``conversion_mapping.py`` of transformers 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import torch
from torch import Tensor

from . import name_table, rtdetr_table
from .name_table import PATTERNS, Rule


@cache
def expression(template: str) -> re.Pattern[str]:
    """Return the regular expression of a template.

    >>> expression('decoder.layers.{k}.{rest}').fullmatch('decoder.layers.10.norm.bias').groupdict()
    {'k': '10', 'rest': 'norm.bias'}
    """
    parts = re.split(r'\{(\w+)\}', template)
    fields = [f'(?P<{name}>{PATTERNS.get(name, "[0-9]+")})' for name in parts[1::2]]
    return re.compile(''.join(re.escape(text) + field for text, field in zip(parts[::2], [*fields, ''])))


DFINE, RTDETR = 'dfine', 'rtdetr'
TABLES = {DFINE: name_table.rules, RTDETR: rtdetr_table.rules}
RESNET = ('backbone.conv1.', 'backbone.res_layers.', 'model.backbone.model.embedder.embedder.')
"""Starts of names that only a detector with RT-DETR's ResNet has."""


def family_of(names: Iterable[str]) -> str:
    """Return ``'dfine'`` or ``'rtdetr'``, the detector whose parameters have these names.

    Args:
        names: Names of the release or of transformers.
    """
    return RTDETR if any(name.startswith(RESNET) for name in names) else DFINE


def table(family: str, num_layers: int) -> tuple[Rule, ...]:
    """Return the rules of a detector's names.

    Args:
        family: ``'dfine'`` or ``'rtdetr'``.
        num_layers: Number of decoder layers.
    """
    return TABLES[family](num_layers)


def translate(name: str, num_layers: int, source: str, target: str, family: str = DFINE) -> str | None:
    """Return a name of one layout in another one, ``None`` where the table has no rule for it.

    Args:
        name: The name.
        num_layers: Number of decoder layers.
        source: Its layout: ``'own'``, ``'release'`` or ``'transformers'``.
        target: The layout to translate to.
        family: ``'dfine'`` or ``'rtdetr'``.

    >>> translate('decoder.dec_bbox_head.1.layers.2.bias', 3, 'release', 'own')
    'bbox_head.fdr.distributions.1.4.bias'
    >>> translate('bbox_head.cls_branches.3.bias', 3, 'own', 'transformers')
    'model.enc_score_head.bias'
    """
    for rule in table(family, num_layers):
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
    (r'layers\.(\d+)\.(?:mlp\.)?fc1\.', r'layers.\1.mlp.layers.0.'),
    (r'layers\.(\d+)\.(?:mlp\.)?fc2\.', r'layers.\1.mlp.layers.1.'),
    (r'encoder\.encoder\.(\d+)\.layers', r'encoder.aifi.\1.layers'),
    (r'self_attn\.o_proj\.', 'self_attn.out_proj.'),
)
"""Names of transformers 4 to those of D-FINE in transformers 5, but for ``out_proj``, which is also the release's."""
FIRST_RELEASE = (
    (r'^encoder\.input_proj\.(\d+)\.0\.', r'encoder.input_proj.\1.conv.'),
    (r'^encoder\.input_proj\.(\d+)\.1\.', r'encoder.input_proj.\1.norm.'),
    (r'^decoder\.enc_output\.0\.', 'decoder.enc_output.proj.'),
    (r'^decoder\.enc_output\.1\.', 'decoder.enc_output.norm.'),
)
"""Names of the first RT-DETR to those of RT-DETRv2 and D-FINE."""
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


def unify_release(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a released file under the names that :data:`Rule.release` expects.

    Args:
        state: Name to tensor.

    >>> list(unify_release({'decoder.enc_output.1.bias': torch.ones(1)}))
    ['decoder.enc_output.norm.bias']
    """
    unified = {}
    for name, value in state.items():
        for pattern, replacement in FIRST_RELEASE:
            name = re.sub(pattern, replacement, name)
        unified[name] = value
    return unified


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
        state: Name to tensor, from :func:`unify_transformers` or :func:`unify_release`.
        layout: ``'release'`` or ``'transformers'``.
    """
    num_layers, family = number_of_layers(state), family_of(state)
    own: dict[str, Tensor] = {}
    unknown = []
    for name, value in state.items():
        if DROPPED.fullmatch(name) or TRAIN_ONLY.fullmatch(name):
            continue
        new = translate(name, num_layers, layout, 'own', family)
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


def sampling_points(state: Mapping[str, Tensor]) -> tuple[int, ...] | None:
    """Return the sampling points of each level, from the factors that files of RT-DETRv2 and D-FINE hold, else None.

    Args:
        state: Name to tensor.

    >>> sampling_points({'a.num_points_scale': torch.tensor([1 / 2, 1 / 2, 1.0])})
    (2, 1)
    """
    scales = next((value for name, value in state.items() if re.search(r'\bn(um)?_points_scale$', name)), None)
    if scales is None:
        return None
    counts, levels = [round(1 / factor) for factor in scales.flatten().tolist()], []
    while counts:
        levels.append(counts[0])
        del counts[: max(counts[0], 1)]
    return tuple(levels)


__all__ = [
    'constants',
    'expression',
    'family_of',
    'join_projections',
    'number_of_layers',
    'sampling_points',
    'table',
    'to_own',
    'translate',
    'unify_release',
    'unify_transformers',
]
