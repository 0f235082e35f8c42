"""Weights of RT-DETR with ResNet-18-vd under the names of every layout, made from transformers' model."""

from __future__ import annotations

import re
from functools import cache

import pytest
import torch
from torch import Tensor

from kd_plugins.conversion.names import RTDETR, to_own, translate, unify_transformers
from tools.analysis.rtdetr_twins import theirs

LAYERS = 3
"""Decoder layers."""
FIRST = (
    (r'(encoder\.input_proj\.\d)\.conv\.', r'\1.0.'),
    (r'(encoder\.input_proj\.\d)\.norm\.', r'\1.1.'),
    (r'(decoder\.enc_output)\.proj\.', r'\1.0.'),
    (r'(decoder\.enc_output)\.norm\.', r'\1.1.'),
)
"""Names of the second release to those of the first."""


def first_name(name: str) -> str:
    """Return a name of the second release as the first one has it."""
    for pattern, first in FIRST:
        name = re.sub(pattern, first, name)
    return name


@cache
def transformers_weights(version: int = 1, num_classes: int = 80) -> dict[str, Tensor]:
    """Return the weights of transformers' model, random numbers also where it starts with constants."""
    pytest.importorskip('transformers')
    state = theirs('r18vd', version, num_classes).state_dict()
    generator = torch.Generator().manual_seed(0)
    for name, value in state.items():
        if value.is_floating_point() and not name.endswith('points_scale'):
            value.normal_(generator=generator)
    return dict(state)


@cache
def own_weights(num_classes: int = 80) -> dict[str, Tensor]:
    """Return the same weights under the names of the detector.

    That each name has the right weights is tested by the outputs, in tests/models/rtdetr.
    """
    return to_own(unify_transformers(transformers_weights(1, num_classes)), 'transformers')[0]


def release_weights(version: int = 2, num_classes: int = 80) -> dict[str, Tensor]:
    """Return the same weights under the names of a release, those of version 2 with the constants of its files."""
    state: dict[str, Tensor] = {}
    for name, value in own_weights(num_classes).items():
        released = translate(name, LAYERS, 'own', 'release', RTDETR)
        assert released is not None
        state[first_name(released) if version == 1 else released] = value
    if version == 2:
        for layer in range(LAYERS):
            state[f'decoder.decoder.layers.{layer}.cross_attn.num_points_scale'] = torch.full((12,), 0.25)
        state |= {'decoder.anchors': torch.zeros(1, 8, 4), 'decoder.valid_mask': torch.ones(1, 8, 1)}
    return state
