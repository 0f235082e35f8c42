"""Selection of a checkpoint of a run and of its weights, and their export to a plain file."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from ..checkpoints import (
    VERSIONS,
    WRAPPED,
    is_readable,
    load_checkpoint,
    numbered_checkpoints,
    weights_of,
    with_versions,
)
from ..config.data_checks import validates
from ..config.hook_entries import hooks_of
from ..config.loading import class_name
from ..errors import CheckpointError, ConfigError, nearest
from ..ops.fisher import KEY as FISHER
from ..runner.resume import best_key, best_metrics, checkpoint_settings, runtime_info
from ..utils.checks import check_choice

KEPT_META = ('dataset_meta', 'epoch', 'iter', 'seed')
"""Keys of a checkpoint's ``meta`` that describe the weights. The others describe the run that wrote them: its time, its
machine, and ``mmengine_version``, which ends with the commit of the repository in the current folder."""


def averages(config: Config) -> bool:
    """Return whether a hook of the config keeps an average of the weights.

    >>> averages(Config({'custom_hooks': [{'type': 'EMAHook'}]}))
    True
    """
    return any(class_name(hook).endswith('EMAHook') for _, hook in hooks_of(config))


def check_rule(config: Config, pick: str, ema: bool | None, key: str) -> None:
    """Refuse a rule that no checkpoint of the run can satisfy.

    Args:
        config: The resolved config of the run.
        pick: ``'last'``, ``'best'``, or ``'best:METRIC'`` where ``save_best`` names several.
        ema: Whether to pick averaged weights (``True``), raw ones (``False``) or what the file holds (``None``).
        key: Config key of the stage, for error sentences.

    Raises:
        ConfigError: If the run does not save the checkpoint or the weights that the rule selects.
    """
    hooks = config.get('default_hooks') or {}
    if 'checkpoint' in hooks and hooks['checkpoint'] is None:
        raise ConfigError(f'{key}: default_hooks.checkpoint is None, so the run saves no checkpoint to pick')
    if checkpoint_settings(config).get('out_dir'):
        raise ConfigError(f'{key}: default_hooks.checkpoint.out_dir is set; checkpoints have to be in the work_dir')
    template = checkpoint_settings(config).get('filename_tmpl')
    if template not in (None, 'epoch_{}.pth', 'iter_{}.pth'):
        raise ConfigError(
            f"{key}: default_hooks.checkpoint.filename_tmpl is '{template}'; nearest: 'epoch_{{}}.pth', 'iter_{{}}.pth'"
        )
    rule, colon, metric = str(pick).partition(':')
    if rule != 'best' or (colon and not metric):
        check_choice(f'{key}.pick', pick, ['last', 'best', 'best:METRIC'])
    if rule == 'best':
        known = best_metrics(config)
        if not known or not validates(config):
            lacking = 'val_cfg is missing' if known else 'default_hooks.checkpoint.save_best is off'
            raise ConfigError(f"{key}.pick is '{pick}', but {lacking}; set it, or pick='last'")
        if metric and metric not in known:
            raise ConfigError(f"{key}.pick: save_best does not name '{metric}'; {nearest(metric, known)}")
        if not metric and len(known) > 1:
            raise ConfigError(f"{key}.pick is 'best', but save_best names several; nearest: 'best:{known[0]}'")
    if not (ema is None or isinstance(ema, bool)):
        raise ConfigError(f'{key}.ema is {ema!r}; valid: True, False, None')
    if ema and not averages(config):
        raise ConfigError(f'{key}.ema is True, but no hook of the config is an EMAHook; valid: None, False')


def pick_checkpoint(folder: Path, config: Config, pick: str, key: str) -> Path:
    """Return the checkpoint of a finished run that a rule selects.

    ``'best'`` is the file that the last checkpoint names: another file ``best_*`` may come from a killed process.

    Args:
        folder: The run's work_dir.
        config: Its config.
        pick: See :func:`check_rule`.
        key: Config key of the stage, for error sentences.

    Raises:
        CheckpointError: If the folder holds no such checkpoint.
    """
    last = next((path for _, path in numbered_checkpoints(folder) if is_readable(path)), None)
    if last is None:
        raise CheckpointError(f"{key}: '{folder}' holds no readable checkpoint named epoch_N.pth or iter_N.pth")
    if pick == 'last':
        return last
    metric = pick.partition(':')[2] or best_metrics(config)[0]
    remembered = runtime_info(load_checkpoint(last, key)).get(best_key('best_ckpt', config, metric))
    if remembered is None:
        raise CheckpointError(f"{key}: '{last}' names no best checkpoint for '{metric}', which was never measured")
    best = folder / Path(remembered).name
    if not is_readable(best):
        raise CheckpointError(f"{key}: '{best}', the best by '{metric}', is missing or damaged")
    return best


def chosen_weights(checkpoint: dict[str, Any], ema: bool | None, key: str) -> tuple[dict[str, Tensor], str]:
    """Return weights by name, and their kind: ``'averaged'`` or ``'raw'``.

    With EMAHook, MMEngine saves the averaged weights in ``state_dict`` and the raw ones in ``ema_state_dict``.

    Args:
        checkpoint: Result of :func:`~kd_plugins.checkpoints.load_checkpoint`.
        ema: See :func:`check_rule`.
        key: Config key of the stage, for error sentences.

    Raises:
        CheckpointError: If ``ema`` is ``True`` and the checkpoint holds no averaged weights.
    """
    weights, other = weights_of(checkpoint), checkpoint.get('ema_state_dict')
    if other is None:
        if ema:
            raise CheckpointError(f'{key}.ema is True, but the checkpoint was saved without an EMAHook; valid: None')
        return weights, 'raw'
    if ema is False:
        raw = {name: other.get(f'{WRAPPED}{name}', value) for name, value in weights.items()}
        return with_versions(raw, weights), 'raw'
    return weights, 'averaged'


def plain(value: Any) -> Any:
    """Return a value as built-in types that every safe loader reads: NumPy values as Python values, others as text.

    Strings are interned, because pickle writes a repeated object differently from an equal copy, and equal values have
    to give equal bytes.

    >>> plain({'sigmas': np.array([0.5]), 'classes': ('a',)})
    {'sigmas': [0.5], 'classes': ('a',)}
    """
    if isinstance(value, str):
        return sys.intern(str(value))
    if isinstance(value, Mapping):
        return {plain(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return (tuple if isinstance(value, tuple) else list)(plain(entry) for entry in value)
    if isinstance(value, (set, frozenset)):
        return sorted(plain(entry) for entry in value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value if value is None or isinstance(value, (bool, int, float, Tensor)) else sys.intern(str(value))


def packed(weights: Mapping[str, Tensor], meta: Mapping[str, Any], fisher: Mapping[str, Any] | None = None) -> bytes:
    """Return the bytes of a checkpoint file that holds only ``state_dict`` and ``meta``.

    Equal weights and equal meta give equal bytes.

    Args:
        weights: Name to tensor.
        meta: Entries of ``meta``.
        fisher: Fisher information that a FisherHook has measured, see :mod:`kd_plugins.ops.fisher`, which later stages
            may need; None for none.
    """
    buffer = io.BytesIO()
    state = with_versions({plain(name): value for name, value in weights.items()}, weights)
    if hasattr(state, VERSIONS):
        setattr(state, VERSIONS, plain(getattr(state, VERSIONS)))
    content = {'meta': plain(meta), 'state_dict': state}
    torch.save(content if fisher is None else {**content, FISHER: plain(fisher)}, buffer)
    return buffer.getvalue()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
