"""Checks of a checkpoint's bytes and of the kinds of its entries, before anything reads them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import CheckpointError


def damaged_member(file: Path) -> str | None:
    """Return the first part of a checkpoint file whose checksum is wrong, ``None`` where all are right.

    PyTorch's loader does not compare the checksums of tensors, so that a flipped bit would become another weight.
    A file in PyTorch's older format has no checksums.

    Args:
        file: The file.
    """
    if not zipfile.is_zipfile(file):
        return None
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip()
    except Exception as error:  # the reader of archives fails in many ways
        return type(error).__name__


def check_content(checkpoint: Mapping[Any, Any], subject: str) -> None:
    """Refuse a checkpoint whose weights or ``meta`` are not a dict.

    Args:
        checkpoint: The content of the file.
        subject: First words of the error sentence: config key and name of the file.

    Raises:
        CheckpointError: Naming the entry.

    >>> check_content({'state_dict': {}, 'meta': {'epoch': 1}}, 'checkpoint')
    """
    for entry in ('state_dict', 'meta'):
        value = checkpoint.get(entry)
        if entry in checkpoint and not isinstance(value, Mapping):
            raise CheckpointError(f"{subject} holds {_kind(value)} as '{entry}'; expected a dict")
    state = checkpoint.get('state_dict', checkpoint)
    unnamed = next((name for name in state if not isinstance(name, str)), None)
    if unnamed is not None:
        raise CheckpointError(f'{subject} holds weights under the key {unnamed!r}; expected names of parameters')


def resume_faults(checkpoint: Mapping[str, Any]) -> Iterator[str]:
    """Yield a description of every entry that MMEngine cannot resume from.

    Args:
        checkpoint: Result of :func:`~kd_plugins.checkpoints.load_checkpoint`.

    >>> list(resume_faults({'state_dict': {}, 'meta': {'epoch': 1}}))
    ["no 'meta.iter'", "no 'message_hub'"]
    """
    meta = checkpoint.get('meta') or {}
    for name in ('epoch', 'iter'):
        value = meta.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            yield f"no 'meta.{name}'" if value is None else f"{_kind(value)} as 'meta.{name}'"
    for name, kind in (('message_hub', Mapping), ('optimizer', Mapping), ('distill', Mapping)):
        if name in checkpoint and not isinstance(checkpoint[name], kind):
            yield f"{_kind(checkpoint[name])} as '{name}'"
    hub = checkpoint.get('message_hub')
    if hub is None:
        yield "no 'message_hub'"
    elif isinstance(hub, Mapping):
        for name in ('log_scalars', 'runtime_info', 'resumed_keys'):
            if not isinstance(hub.get(name), Mapping):
                yield f"no 'message_hub.{name}'"
    optimizer = checkpoint.get('optimizer')
    # With several optimizers the entry holds the state of each by its name.
    members: list[Any] = [optimizer] if isinstance(optimizer, Mapping) and 'param_groups' in optimizer else []
    if isinstance(optimizer, Mapping) and not members:
        members = [value for name, value in optimizer.items() if name != 'base_param_settings'] or [None]
    if any(not isinstance(state, Mapping) or 'param_groups' not in state for state in members):
        yield "no 'optimizer.param_groups'"
    schedulers = checkpoint.get('param_schedulers', [])
    listed = schedulers.values() if isinstance(schedulers, Mapping) else [schedulers]
    if any(not isinstance(one, list) or not all(isinstance(state, Mapping) for state in one) for one in listed):
        yield f"{_kind(schedulers)} as 'param_schedulers'"


def _kind(value: Any) -> str:
    kind = 'a tensor' if isinstance(value, Tensor) else type(value).__name__
    return 'None' if value is None else kind
