"""Files with weights of D-FINE or RT-DETR, or of their backbones, from other programs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ..checkpoints import load_checkpoint
from ..errors import CheckpointError, nearest
from ..models.backbones.weights import read_safetensors
from .names import (
    DFINE,
    RESNET,
    RTDETR,
    TRAIN_ONLY,
    constants,
    family_of,
    number_of_layers,
    sampling_points,
    table,
    to_own,
    unify_release,
    unify_transformers,
)
from .sizes import measure, size_name

SAFETENSORS = '.safetensors'
HUB_FILE = 'model.safetensors'
BACKBONE_STARTS = {
    DFINE: ('stem.', 'stages.', 'head.'),
    RTDETR: tuple(name.removeprefix('backbone.') for name in RESNET if name.startswith('backbone.')),
}
TITLES = {DFINE: 'D-FINE', RTDETR: 'RT-DETR'}
WRAPPERS = (('ema', 'module'), ('model',), ('state_dict',))
"""Keys under which training programs save weights; averaged weights are preferred, as in the release."""
PREFIXES = re.compile(r'^(module\.|_orig_mod\.)+')
"""Prefixes of DistributedDataParallel and of ``torch.compile``."""
SILU_FAMILIES = ('deim', 'rtv4', 'rtdetrv4')
"""Parts of the file names of DEIM and RT-DETRv4, whose activation is SiLU."""
FROZEN_NORMS = ('l', 'x')
"""Sizes of D-FINE whose backbone has frozen norms, without counters of batches; DEIM and RT-DETRv4 train them."""
COUNTERS = 'num_batches_tracked'
"""End of the names of counters that files of frozen norms lack, and that no computation here reads."""
DEIM_POSITIONS = 'decoder.ref_point_head.layers.2.weight'
"""Third layer of the query positions, which only the RT-DETRv2 of DEIM has."""
OWN_STARTS = ('bbox_head.', 'memory_trans_fc.')
"""Starts of names in a checkpoint that was converted already, or is of another detector of MMDetection."""
DISCRETE = re.compile(r'_dsp\d*(_|\.)')
"""Part of the names of RT-DETRv2's files with discrete sampling."""
KEY = 'SOURCE'


class Source(NamedTuple):
    """Weights of a file.

    Attributes:
        path: The file.
        layout: ``'release'``, ``'transformers'`` or ``'backbone'``.
        state: Name to tensor; of a detector under the names used here, of a backbone under those of the file.
        constants: Values of ``up`` and ``reg_scale`` in the file.
        classes: Class names in the ``config.json`` of transformers, ``None`` where it names none.
        activation: ``'silu'`` or ``'relu'``, ``None`` where nothing tells.
        family: ``'dfine'`` or ``'rtdetr'``.
        points: Sampling points of each level, ``None`` where nothing tells.
        sampling: ``'default'`` or ``'discrete'``, how RT-DETRv2 samples, ``None`` where nothing tells.
    """

    path: Path
    layout: str
    state: dict[str, Tensor]
    constants: Mapping[str, Sequence[float]] = {}
    classes: Sequence[str] | None = None
    activation: str | None = None
    family: str = DFINE
    points: tuple[int, ...] | None = None
    sampling: str | None = None


def read_source(path: str | Path) -> Source:
    """Read a file of the release, of transformers or of a backbone; no code that the file contains is run.

    Args:
        path: A ``.pth`` or ``.safetensors`` file, or a folder with ``model.safetensors``. A ``config.json`` of
            transformers beside it tells the classes and the activation.

    Raises:
        CheckpointError: If the file is missing, damaged, or holds no weights of D-FINE or RT-DETR.
        MissingDependencyError: If the file needs safetensors and it is not installed.
    """
    file = Path(path).expanduser()
    file = file / HUB_FILE if file.is_dir() else file
    state = read_tensors(file)
    subject = f"{KEY}: '{file}'"
    for family, starts in BACKBONE_STARTS.items():
        if all(name.startswith(starts) for name in state):
            check_finite(state, subject)
            return Source(file, 'backbone', state, family=family)
    layout = 'transformers' if any(name.startswith('model.') for name in state) else 'release'
    state = unify_transformers(state) if layout == 'transformers' else unify_release(state)
    own, unknown = to_own(state, layout)
    if unknown:
        raise CheckpointError(unknown_sentence(subject, state, unknown))
    check_finite(own, subject)
    family = family_of(state)
    if family == RTDETR and DEIM_POSITIONS in own:
        raise CheckpointError(
            f'{subject} is an RT-DETRv2 of DEIM, whose query positions come from three layers; valid: files of the '
            "releases of RT-DETR and RT-DETRv2, and of DEIM's D-FINE"
        )
    config = hub_config(file) if layout == 'transformers' else {}
    activation = config.get('decoder_activation_function') or trained_activation(file.name, state, own)
    if activation is None and family == RTDETR:
        activation = 'relu'
    sampling = config.get('decoder_method') or ('discrete' if DISCRETE.search(file.name.lower()) else None)
    known = (constants(state), class_names(config), activation)
    return Source(file, layout, own, *known, family, sampling_points(state), sampling)


def check_finite(state: Mapping[str, Tensor], subject: str) -> None:
    """Refuse weights of a training that has diverged.

    Raises:
        CheckpointError: If a tensor holds NaN or an infinite value.
    """
    broken = next((name for name, value in state.items() if not value.isfinite().all()), None)
    if broken is not None:
        raise CheckpointError(
            f"{subject} holds NaN or infinite values in '{broken}'; take an earlier file of that training"
        )


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name, averaged weights where it has them, without the prefixes of wrappers.

    Raises:
        CheckpointError: If the file is missing or damaged, or holds no tensors.
    """
    if file.suffix == SAFETENSORS:
        if not file.is_file():
            beside = [str(other) for other in file.parent.glob(f'*{SAFETENSORS}')] if file.parent.is_dir() else []
            raise CheckpointError(f"{KEY}: '{file}' does not exist; {nearest(str(file), beside)}")
        state = read_safetensors(file, KEY)
        if not state:
            raise CheckpointError(f"{KEY}: '{file}' holds no tensors; copy or download it again")
        return state
    content: Any = load_checkpoint(file, KEY)
    for keys in WRAPPERS:
        inner = content
        for key in keys:
            inner = inner.get(key) if isinstance(inner, Mapping) else None
        if isinstance(inner, Mapping):
            content = inner
            break
    state = {PREFIXES.sub('', name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise CheckpointError(f"{KEY}: '{file}' holds no tensors; expected weights under ema.module, model or no key")
    return state


def trained_activation(name: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor] = {}) -> str | None:
    """Return the activation in decoder and head that a file was trained with, ``None`` where nothing tells.

    DEIM and RT-DETRv4 have D-FINE's names and shapes, and SiLU in place of ReLU. The names of the released files tell,
    and what only RT-DETRv4 has. In the sizes L and X, norms of the backbone that were trained tell under any name,
    because D-FINE freezes them.

    Args:
        name: Name of the file.
        state: Name to tensor.
        own: The same under the names used here.

    >>> trained_activation('deim_dfine_hgnetv2_s_coco_120e.pth', {}), trained_activation('dfine_s_coco.pth', {})
    ('silu', 'relu')
    """
    words = re.sub(r'[\W_]', '', name.lower())
    if any(family in words for family in SILU_FAMILIES) or any(TRAIN_ONLY.fullmatch(key) for key in state):
        return 'silu'
    trained_norms = any(key.startswith('backbone.') and key.endswith(COUNTERS) for key in own)
    if trained_norms and size_name(measure(own)) in FROZEN_NORMS:
        return 'silu'
    return 'relu' if 'dfine' in words or 'rtdetr' in words else None


def unknown_sentence(subject: str, state: Mapping[str, Tensor], unknown: Sequence[str]) -> str:
    """Return the error about names that the table does not have."""
    more = f' and {len(unknown) - 1} more' if len(unknown) > 1 else ''
    converted = next((name for name in unknown if name.startswith(OWN_STARTS)), None)
    if converted is not None:
        return (
            f"{subject} holds '{converted}', a name of MMDetection and not of a release; a checkpoint that was "
            'converted already goes into load_from of a config as it is'
        )
    if len(unknown) == len(state):
        return (
            f"{subject} holds '{unknown[0]}'{more}, none of which D-FINE has; valid: weights of D-FINE and RT-DETR "
            'from their releases or from transformers, and of the backbones HGNetV2 and ResNet-vd'
        )
    family = family_of(state)
    roots = {rule.release for rule in table(family, number_of_layers(state))}
    return f"{subject} holds '{unknown[0]}'{more}, which {TITLES[family]} does not have; {nearest(unknown[0], roots)}"


def hub_config(file: Path) -> dict[str, Any]:
    """Return the ``config.json`` beside a file, an empty dict where there is none that can be read."""
    try:
        content = json.loads(file.with_name('config.json').read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def class_names(config: Mapping[str, Any]) -> list[str] | None:
    """Return the class names of a config of transformers, ``None`` where they are missing or only numbered.

    >>> class_names({'id2label': {'1': 'cat', '0': 'dog'}}), class_names({'id2label': {'0': 'LABEL_0'}})
    (['dog', 'cat'], None)
    """
    labels = config.get('id2label')
    if not isinstance(labels, Mapping) or set(labels) != {str(index) for index in range(len(labels))}:
        return None
    names = [str(labels[str(index)]) for index in range(len(labels))]
    return None if not names or all(name == f'LABEL_{index}' for index, name in enumerate(names)) else names


__all__ = [
    'Source',
    'check_finite',
    'class_names',
    'hub_config',
    'read_source',
    'read_tensors',
    'trained_activation',
    'unknown_sentence',
]
