"""Checkpoints: read safely, load into a model, write atomically, find the newest readable one."""

from __future__ import annotations

import os
import pickle
import re
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from mmengine.fileio import LocalBackend, register_backend
from torch import Tensor, nn

from .errors import CheckpointError, nearest
from .utils.checkpoint_content import check_content, damaged_member
from .utils.safe_load import load_safely
from .utils.urls import address_note, download, is_url

ATOMIC_BACKEND = 'kd_plugins_atomic'
MARKER = 'last_checkpoint'
"""File in the work_dir with the path of the checkpoint that MMEngine's CheckpointHook has saved last."""
WRAPPED = 'module.'
"""Prefix of the names in a state dict of DistributedDataParallel."""
VERSIONS = '_metadata'
"""Attribute of PyTorch's state dicts with the version of every module."""


@dataclass
class LoadReport:
    """Result of loading weights, key by key.

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
        CheckpointError: If the file is missing, truncated, or holds more than tensors and plain values, or if the URL
            cannot be downloaded.
    """
    name = str(path)
    if is_url(name):
        file, is_new = download(name, key)
        remedy = 'copy the file here by other means' if is_new else f"delete '{file}' to download it again"
        try:
            return read_checkpoint(file, f"{key}: '{name}'", remedy)
        except CheckpointError:
            if is_new:  # MMEngine and the next call must not take it for the file of this URL
                for one in (file, address_note(file)):
                    one.unlink(missing_ok=True)
            raise
    file = Path(name)
    if not os.path.isfile(name):  # of a name that no file can have, a Path raises an error
        is_folder = bool(name) and os.path.isdir(name)
        place, fault = (file, 'is a folder') if is_folder else (file.parent, 'does not exist')
        files = [str(other) for other in place.glob('*.pth')] if os.path.isdir(place) else []
        raise CheckpointError(f"{key}: '{name}' {fault}; {nearest(name, files)}")
    return read_checkpoint(file, f"{key}: '{name}'", 'copy or download it again')


def read_checkpoint(file: Path, subject: str, remedy: str) -> dict[str, Any]:
    """Read a checkpoint file.

    Args:
        file: The file, which exists.
        subject: First words of error sentences: config key and name.
        remedy: What to do about a file that is no checkpoint.

    Raises:
        CheckpointError: If the file is truncated, or holds more than tensors and plain values.
    """
    try:
        checkpoint = load_safely(file)
    except Exception as error:  # damaged bytes are read as pickle instructions, which fail in any way
        with file.open('rb') as opened:
            start = opened.read(64).lstrip().lower()
        # A file in PyTorch's older format is a plain pickle, which starts with the byte of the pickle protocol.
        intact = zipfile.is_zipfile(file) or start.startswith(pickle.PROTO)
        class_name = re.search(r'GLOBAL (\S+)', str(error))
        if isinstance(error, pickle.UnpicklingError) and intact and (class_name or zipfile.is_zipfile(file)):
            content = f"'{class_name.group(1)}'" if class_name else 'an object that is not a tensor'
            raise CheckpointError(
                f'{subject} holds {content}, which could run code when loaded; save it again as a dict of tensors'
            ) from error
        is_page = start.startswith((b'<!doctype', b'<html', b'<?xml'))
        content = 'a web page' if is_page else 'truncated or not a PyTorch checkpoint'
        raise CheckpointError(f'{subject} is {content}; {remedy}') from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"{subject} holds a {type(checkpoint).__name__}; expected a dict with 'state_dict'")
    part = damaged_member(file)
    if part is not None:
        raise CheckpointError(f"{subject} is damaged: the checksum of its part '{part}' is wrong; {remedy}")
    check_content(checkpoint, subject)
    return checkpoint


def weights_of(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name, without the prefix that DistributedDataParallel adds.

    The versions of its modules stay beside them, see :func:`with_versions`.
    """
    state = checkpoint.get('state_dict', checkpoint)
    weights = {name.removeprefix(WRAPPED): value for name, value in state.items() if isinstance(value, Tensor)}
    return with_versions(weights, state, WRAPPED)


def with_versions(weights: Mapping[str, Tensor], state: Mapping[str, Any], prefix: str = '') -> dict[str, Tensor]:
    """Return weights with the versions of the modules in a state dict, which PyTorch keeps in an attribute of it.

    Some modules take weights without a version for those of an older release: ``load_state_dict`` of MMPose's
    ``DEKRHead`` then moves the channels of its heatmaps.

    Args:
        weights: Name to tensor.
        state: The state dict that they come from; another mapping has no versions.
        prefix: Beginning of names that ``weights`` lack.

    >>> from torch import nn
    >>> state = nn.Sequential(nn.ReLU()).state_dict()
    >>> with_versions({}, state)._metadata == state._metadata == {'': {'version': 1}, '0': {'version': 1}}
    True
    """
    versions = getattr(state, VERSIONS, None)
    if versions is None:
        return dict(weights)
    versioned = OrderedDict(weights)
    # A module is named without the dot at the end of the names of its parts.
    shorter = {f'{path}.'.removeprefix(prefix).removesuffix('.'): version for path, version in versions.items()}
    setattr(versioned, VERSIONS, shorter)
    return versioned


def compare_weights(saved: Mapping[str, Tensor], current: Mapping[str, Tensor]) -> LoadReport:
    """Return which tensors fit a model by name and shape; :attr:`LoadReport.loaded` holds these.

    Args:
        saved: Name to tensor, of a checkpoint or another model.
        current: Name to tensor of the model.

    >>> from torch import zeros
    >>> compare_weights({'a': zeros(2), 'b': zeros(2)}, {'a': zeros(2), 'b': zeros(3), 'c': zeros(1)})
    LoadReport(loaded=['a'], missing=['c'], unexpected=[], mismatched={'b': ((2,), (3,))})
    """
    mismatched = {
        name: (tuple(value.shape), tuple(current[name].shape))
        for name, value in saved.items()
        if name in current and value.shape != current[name].shape
    }
    return LoadReport(
        loaded=[name for name in saved if name in current and name not in mismatched],
        missing=[name for name in current if name not in saved],
        unexpected=[name for name in saved if name not in current],
        mismatched=mismatched,
    )


def prefixes(names: Iterable[str]) -> list[str]:
    """Return the different beginnings of dotted names, each up to and with its first dot.

    >>> prefixes(['student.head.bias', 'student.neck.bias', 'teacher.head.bias', 'steps'])
    ['student.', 'teacher.']
    """
    return list(dict.fromkeys(f'{name.partition(".")[0]}.' for name in names if '.' in name))


def load_weights(
    model: nn.Module, checkpoint: dict[str, Any], path: str, strict: bool = True, key: str = 'checkpoint'
) -> LoadReport:
    """Copy the weights of a checkpoint into a model.

    Args:
        model: The model to fill.
        checkpoint: Result of :func:`load_checkpoint`.
        path: Its path, for error sentences.
        strict: Whether missing, unexpected and mismatched keys are errors.
        key: Config key for error sentences.

    Raises:
        CheckpointError: If no key matches or, with ``strict``, if any key does not.
    """
    saved, current = weights_of(checkpoint), model.state_dict()
    report = compare_weights(saved, current)
    if not saved:
        entries = ', '.join(repr(name) for name in list(checkpoint)[:6]) or 'none'
        raise CheckpointError(
            f"{key}: '{path}' holds no tensors under 'state_dict' or at its top; its entries: {entries}; save the "
            'weights as dict(state_dict=...)'
        )
    if not report.loaded:
        sample = next(iter(saved))
        head = next((start for start in prefixes(saved) if all(f'{start}{name}' in saved for name in current)), None)
        advice = nearest(sample, current) if head is None else f"save them again without '{head}' in front of each name"
        raise CheckpointError(
            f"{key}: '{path}' belongs to another model: none of its {len(saved)} keys (for example '{sample}') "
            f'fits; {advice}'
        )
    if strict and report.mismatched:
        name, (saved_shape, model_shape) = next(iter(report.mismatched.items()))
        raise CheckpointError(
            f"{key}: '{path}' has shape {saved_shape} for '{name}' where the model has {model_shape}, and "
            f'{len(report.mismatched) - 1} more such keys; a different class or channel count is the usual cause'
        )
    if strict and (report.missing or report.unexpected):
        name = (report.missing or report.unexpected)[0]
        raise CheckpointError(
            f"{key}: '{path}' lacks {len(report.missing)} keys of the model and has {len(report.unexpected)} that it "
            f"does not know (first: '{name}'); {nearest(name, saved if report.missing else current)}; "
            'strict=False allows it'
        )
    model.load_state_dict(with_versions({name: saved[name] for name in report.loaded}, saved), strict=False)
    return report


def is_readable(path: str | os.PathLike[str]) -> bool:
    """Return whether a checkpoint file is complete: a zip archive in which every checksum is correct."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def latest_checkpoint(folder: str | os.PathLike[str], marker: Path | None = None) -> str | None:
    """Return the newest checkpoint of a run that can be read.

    MMEngine trusts the file ``last_checkpoint``, but a killed process or a full disk can leave that file empty or the
    checkpoint truncated. Each candidate is therefore checked, and if it is damaged, the next older one is taken.

    Args:
        folder: Folder of the checkpoints.
        marker: See :func:`without_leftovers`; by default ``last_checkpoint`` in the folder.

    Returns:
        Path of the checkpoint, or ``None`` where the folder has none.
    """
    numbered = without_leftovers(numbered_checkpoints(folder), marker or Path(folder) / MARKER)
    return next((str(path) for _, path in numbered if is_readable(path)), None)


def without_leftovers(numbered: list[tuple[int, Path]], marker: Path) -> list[tuple[int, Path]]:
    """Leave out checkpoints of an earlier run, which a later run from the start did not reach before it was stopped.

    A run that begins anew in the same folder replaces files of equal names alone. Files with a higher number that are
    older than the one that MMEngine noted last belong to the earlier run.

    Args:
        numbered: Number and path of checkpoints.
        marker: MMEngine's file ``last_checkpoint``, which may be missing or empty.
    """
    name = Path(marker.read_text(encoding='utf-8', errors='replace').strip()).name if marker.is_file() else ''
    last = next(((number, path.stat().st_mtime_ns) for number, path in numbered if path.name == name), None)
    if last is None:
        return numbered
    return [(number, path) for number, path in numbered if number <= last[0] or path.stat().st_mtime_ns >= last[1]]


def numbered_checkpoints(work_dir: str | os.PathLike[str]) -> list[tuple[int, Path]]:
    """Return number (epoch or iteration) and path of every checkpoint to resume from, the newest first.

    Damaged files are included.
    """
    numbered = []
    for path in Path(work_dir).glob('*.pth'):
        match = re.fullmatch(r'(?:epoch|iter)_(\d+)\.pth', path.name)
        if match:
            numbered.append((int(match.group(1)), path))
    return sorted(numbered, reverse=True)


class AtomicBackend(LocalBackend):
    """Local backend of MMEngine with atomic writes: a file is either complete or absent.

    ``put`` writes a temporary file in the same folder and renames it. ``remove`` is delayed until the next ``put`` has
    succeeded, because MMEngine's CheckpointHook removes the outdated checkpoint before it writes the new one.
    """

    _to_remove: ClassVar[set[str]] = set()

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
            # mkstemp creates private files; a checkpoint gets the permissions of an ordinary file.
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        for path in list(self._to_remove):
            self._to_remove.discard(path)
            if Path(path) != target:
                Path(path).unlink(missing_ok=True)

    def remove(self, filepath: str | Path) -> None:
        """Remove ``filepath`` after the next file has been written."""
        if not Path(filepath).exists():
            raise FileNotFoundError(f'{filepath} does not exist')
        self._to_remove.add(str(filepath))


register_backend(ATOMIC_BACKEND, AtomicBackend, force=True)
