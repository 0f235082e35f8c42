"""Files of D-FINE-N in every layout, made from transformers' model with random weights; no network is used."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.conversion.names import to_own, translate, unify_transformers
from tools.analysis.dfine_twins import theirs

LAYERS = 3
"""Decoder layers of D-FINE-N."""
CONSTANTS = ('up', 'reg_scale', 'num_points_scale')


@cache
def twin(num_classes: int = 80) -> nn.Module:
    """Return transformers' D-FINE-N with random numbers in every tensor but the constants."""
    pytest.importorskip('transformers')
    model = theirs('n', num_classes)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point() and not name.endswith(CONSTANTS):
                value.normal_(generator=generator)
        model.model.denoising_class_embed.weight[-1] = 0
    return model


@cache
def own_weights(num_classes: int = 80) -> dict[str, Tensor]:
    """Return the same weights under the names of the detector.

    That each name has the right weights is tested by the outputs, in tests/models/dfine/native.
    """
    return to_own(unify_transformers(twin(num_classes).state_dict()), 'transformers')[0]


def release_weights(num_classes: int = 80, **constants: Tensor) -> dict[str, Tensor]:
    """Return the same weights under the names of the release, with the constants that its files hold.

    Args:
        num_classes: Number of rows of the scores.
        constants: ``up`` and ``reg_scale``, if they are not those of D-FINE-N.
    """
    up, scale = constants.get('up', torch.tensor([0.5])), constants.get('reg_scale', torch.tensor([4.0]))
    state: dict[str, Tensor] = {}
    for name, value in own_weights(num_classes).items():
        released = translate(name, LAYERS, 'own', 'release')
        assert released is not None
        state[released] = value
    for layer in range(LAYERS):
        state[f'decoder.decoder.layers.{layer}.cross_attn.num_points_scale'] = torch.full((12,), 1 / 6)
    for part in ('decoder', 'decoder.decoder'):
        state |= {f'{part}.up': up, f'{part}.reg_scale': scale}
    return {**state, 'decoder.anchors': torch.zeros(1, 2000, 4), 'decoder.valid_mask': torch.ones(1, 2000, 1)}


def save_release(path: Path, layout: str = 'ema', state: dict[str, Tensor] | None = None) -> Path:
    """Write a file of the release.

    Args:
        path: The file.
        layout: ``'ema'`` with averaged weights and other ones, ``'model'`` from several processes, or ``'bare'``.
        state: The weights; by default all.
    """
    state = release_weights() if state is None else state
    other = {name: torch.zeros_like(value) for name, value in state.items()}
    content: dict[str, Any] = {
        'ema': {'date': 'now', 'last_epoch': 3, 'model': other, 'ema': {'module': state, 'updates': 9}},
        'model': {'model': {f'module.{name}': value for name, value in state.items()}},
        'bare': state,
    }[layout]
    torch.save(content, path)
    return path
