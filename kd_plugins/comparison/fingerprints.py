"""Identity of settings and of weights, the same on every machine."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from ..checkpoints import load_checkpoint, weights_of
from ..config.loading import drop_hooks_switched_off
from ..config.reading import merge_options, read_config
from ..runner.processes import HASH_LENGTH


def settings_hash(config: Config, path: str, options: Mapping[str, Any], needs: Mapping[str, str]) -> str:
    """Return the hash of a training's settings, and of those of the trainings whose checkpoints it needs.

    Environment variables that a config reads, such as the folder of its data, count with their defaults, so that a run
    is the same run on another machine.

    Args:
        config: The training's config, of :func:`~kd_plugins.config.loading.load_config`.
        path: Its path.
        options: Its ``--cfg-options``, dotted key to value.
        needs: Name to hash of each training that it needs.

    Raises:
        ConfigError: If the config cannot be read.
    """
    if config.env_variables:
        with _without(config.env_variables):
            config = read_config(path)
        merge_options(config, options, '--cfg-options')
        drop_hooks_switched_off(config)
    text = json.dumps([canonical(config._cfg_dict), dict(needs)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


def canonical(node: Any) -> Any:
    """Return a part of a config as plain values; keys become text, tuples lists, and classes and functions their names.

    >>> canonical({1: (True, None, 0.5), 'type': dict})
    {'1': [True, None, 0.5], 'type': 'builtins.dict'}
    """
    if isinstance(node, dict):
        return {str(key): canonical(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [canonical(value) for value in node]
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    name = getattr(node, '__qualname__', None)
    return f'{node.__module__}.{name}' if name else repr(node)


def weights_hash(path: str | Path) -> str:
    """Return the hash of the weights in a checkpoint; what else the file holds, such as times, does not count.

    Args:
        path: The file.

    Raises:
        CheckpointError: If it cannot be read.
    """
    digest = hashlib.sha256()
    for name, value in sorted(weights_of(load_checkpoint(path)).items()):
        digest.update(f'{name} {value.dtype} {tuple(value.shape)}'.encode())
        digest.update(value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:HASH_LENGTH]


@contextmanager
def _without(names: Mapping[str, Any]) -> Iterator[None]:
    """Hide environment variables within a block."""
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
