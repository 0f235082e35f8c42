"""Checkpoints: safe reading, fitting to a model, atomic writing, search for the newest readable one."""

from __future__ import annotations

import os
import pickle
import re
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.fileio import LocalBackend, register_backend
from torch import Tensor, nn

from .compat import allow_resume
from .errors import CheckpointError, nearest

ATOMIC_BACKEND = 'kd_plugins_atomic'


@dataclass
class LoadReport:
    """What happened to each key when weights were loaded.

    Attributes:
        loaded: Keys that were copied.
        missing: Keys of the model that the checkpoint lacks.
        unexpected: Keys of the checkpoint that the model lacks.
        mismatched: Key to (shape in the checkpoint, shape in the model).
    """

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)


def load_checkpoint(path: str | os.PathLike[str], key: str = 'checkpoint') -> dict[str, Any]:
    """Read a checkpoint onto the CPU without executing anything that it contains.

    Args:
        path: File, or a URL that starts with ``http``.
        key: Config key for error sentences.

    Raises:
        CheckpointError: If the file is absent, truncated, or holds more than tensors and plain values.
    """
    allow_resume()
    name = str(path)
    if name.startswith(('http://', 'https://')):
        return torch.hub.load_state_dict_from_url(name, map_location='cpu', weights_only=True)
    if not Path(name).is_file():
        siblings = [str(found) for found in Path(name).parent.glob('*.pth')] if Path(name).parent.is_dir() else []
        raise CheckpointError(f"{key}: '{name}' does not exist; {nearest(name, siblings)}")
    try:
        checkpoint = torch.load(name, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        if zipfile.is_zipfile(name):
            found = re.search(r'GLOBAL (\S+)', str(error))
            what = f"'{found.group(1)}'" if found else 'an object that is no tensor'
            raise CheckpointError(
                f"{key}: '{name}' holds {what}, which could run code when loaded; save it again as a dict of tensors"
            ) from error
        raise CheckpointError(
            f"{key}: '{name}' is truncated or no PyTorch checkpoint; copy or download it again"
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{key}: '{name}' is truncated or no PyTorch checkpoint; copy or download it again"
        ) from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"{key}: '{name}' holds a {type(checkpoint).__name__}; expected a dict with 'state_dict'")
    return checkpoint


def weights_of(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name, without the prefix that DistributedDataParallel adds."""
    state = checkpoint.get('state_dict', checkpoint)
    return {name.removeprefix('module.'): value for name, value in state.items() if isinstance(value, Tensor)}


def load_weights(
    model: nn.Module, checkpoint: dict[str, Any], path: str, strict: bool = True, key: str = 'checkpoint'
) -> LoadReport:
    """Copy a checkpoint's weights into a model.

    Args:
        model: The model to fill.
        checkpoint: What :func:`load_checkpoint` gave.
        path: Its path, for error sentences.
        strict: Whether missing, unexpected and mismatched keys are errors.
        key: Config key for error sentences.

    Raises:
        CheckpointError: If nothing fits, or something does not while ``strict``.
    """
    theirs, mine = weights_of(checkpoint), model.state_dict()
    report = LoadReport(
        missing=[name for name in mine if name not in theirs],
        unexpected=[name for name in theirs if name not in mine],
        mismatched={
            name: (tuple(value.shape), tuple(mine[name].shape))
            for name, value in theirs.items()
            if name in mine and value.shape != mine[name].shape
        },
    )
    fitting = {name: value for name, value in theirs.items() if name in mine and name not in report.mismatched}
    report.loaded = list(fitting)
    if not fitting:
        sample = next(iter(theirs), 'none')
        raise CheckpointError(
            f"{key}: '{path}' belongs to another model: none of its {len(theirs)} keys (for example '{sample}') "
            f'fits; {nearest(sample, mine)}'
        )
    if strict and report.mismatched:
        name, (found, wanted) = next(iter(report.mismatched.items()))
        raise CheckpointError(
            f"{key}: '{path}' has shape {found} for '{name}' where the model has {wanted}, and "
            f'{len(report.mismatched) - 1} more such keys; a different class or channel count is the usual cause'
        )
    if strict and (report.missing or report.unexpected):
        name = (report.missing or report.unexpected)[0]
        raise CheckpointError(
            f"{key}: '{path}' lacks {len(report.missing)} keys of the model and has {len(report.unexpected)} that it "
            f"does not know (first: '{name}'); {nearest(name, theirs if report.missing else mine)}; "
            'strict=False allows it'
        )
    model.load_state_dict(fitting, strict=False)
    return report


def is_readable(path: str | os.PathLike[str]) -> bool:
    """Whether a checkpoint file is whole: a zip archive in which every member's checksum is right."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def latest_checkpoint(work_dir: str | os.PathLike[str]) -> str | None:
    """Find the newest checkpoint of a run that is whole.

    MMEngine trusts the file ``last_checkpoint``; a kill or a full disk can leave that file empty or the checkpoint
    truncated, so each candidate is checked and the next older one taken if it is damaged.

    Returns:
        Its path, or ``None`` where the folder holds none.
    """
    return next((str(found) for _, found in numbered_checkpoints(work_dir) if is_readable(found)), None)


def numbered_checkpoints(work_dir: str | os.PathLike[str]) -> list[tuple[int, Path]]:
    """Return epoch or iteration and path of every checkpoint to resume from, newest first, damaged ones included."""
    numbered = []
    for found in Path(work_dir).glob('*.pth'):
        match = re.fullmatch(r'(?:epoch|iter)_(\d+)\.pth', found.name)
        if match:
            numbered.append((int(match.group(1)), found))
    return sorted(numbered, reverse=True)


class AtomicBackend(LocalBackend):
    """MMEngine's local backend, with writes that are there whole or not at all.

    ``put`` writes beside the target and renames. ``remove`` waits until the next ``put`` has succeeded, because
    MMEngine's CheckpointHook deletes the outdated checkpoint before it writes the new one.
    """

    _doomed: ClassVar[set[str]] = set()

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write ``obj`` to ``filepath`` atomically."""
        target = Path(filepath)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f'.{target.name}.', dir=target.parent)
        try:
            with os.fdopen(handle, 'wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp makes private files; a checkpoint gets the permissions of an ordinary one.
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        for path in list(self._doomed):
            self._doomed.discard(path)
            if Path(path) != target:
                Path(path).unlink(missing_ok=True)

    def remove(self, filepath: str | Path) -> None:
        """Remove ``filepath`` once something newer has been written."""
        if not Path(filepath).exists():
            raise FileNotFoundError(f'{filepath} does not exist')
        self._doomed.add(str(filepath))


register_backend(ATOMIC_BACKEND, AtomicBackend, force=True)
