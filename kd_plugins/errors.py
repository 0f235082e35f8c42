"""Errors whose message is one sentence: the config key, its value and the nearest valid choice."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

EXTRAS = {
    'det': ('mmcv', 'mmdet', 'scipy', 'shapely'),
    'pose': ('mmpose', 'json_tricks', 'munkres', 'xtcocotools'),
    'seg': ('mmseg', 'prettytable', 'ftfy', 'regex'),
    'det3d': (
        *('mmdet3d', 'lyft_dataset_sdk', 'nuscenes', 'numba', 'plyfile', 'trimesh', 'pyquaternion', 'pandas'),
        *('skimage', 'fire', 'cachetools', 'tensorboard'),
    ),
    'volume': ('monai', 'nibabel', 'einops'),
    'timm': ('timm', 'huggingface_hub', 'safetensors'),
    'views': ('kornia',),
    'export': ('onnx', 'onnxruntime'),
    'demo': ('matplotlib', 'rich', 'sklearn'),
}
"""Extra of this project to the packages that it installs, by their import names."""


class KDPluginsError(Exception):
    """Base class of all errors that this package raises; the commands print the message without a traceback."""


class ConfigError(KDPluginsError, ValueError):
    """A config with a mistake, found before the first optimizer step."""


class TapError(KDPluginsError, RuntimeError):
    """A tap that matched nothing or never fired."""


class CheckpointError(KDPluginsError, RuntimeError):
    """A checkpoint that is truncated, from another program, or does not fit the model."""


class NonFiniteLossError(KDPluginsError, FloatingPointError):
    """A distillation term that became NaN or infinite."""


class MissingDependencyError(KDPluginsError, ImportError):
    """An optional dependency that the config needs and the environment lacks."""


def nearest(name: object, choices: Iterable[object], limit: int = 3) -> str:
    """Return the valid names that are nearest to ``name``, as the last words of an error sentence.

    Args:
        name: Name in the config.
        choices: All valid names.
        limit: Largest number of names to show.

    Returns:
        ``"nearest: 'a', 'b'"``, or the first valid names where none is near.

    >>> nearest('bbox_head.gfl_rg', ['bbox_head.gfl_reg', 'neck'])
    "nearest: 'bbox_head.gfl_reg'"
    >>> nearest('x', ['backbone', 'neck'])
    "valid: 'backbone', 'neck'"
    """
    valid = [str(choice) for choice in choices]
    close = get_close_matches(str(name), valid, n=limit, cutoff=0.5)
    label = 'nearest' if close else 'valid'
    shown = close or valid[:limit]
    listed = ', '.join(repr(choice) for choice in shown) if shown else 'none'
    more = ', ...' if not close and len(valid) > limit else ''
    return f'{label}: {listed}{more}'


def extra_note(package: str) -> str:
    """Return the extra of this project that installs a package, as words of an error sentence; empty for others.

    >>> extra_note('numba'), extra_note('my_package')
    (" (extra 'det3d')", '')
    """
    extra = next((extra for extra, packages in EXTRAS.items() if package.partition('.')[0] in packages), None)
    return '' if extra is None else f" (extra '{extra}')"


def missing_package(error: BaseException | None) -> str | None:
    """Return the name of the package whose absence caused an error, or ``None`` where no error of the chain tells.

    The name is lost where an error is raised again with another text, as MONAI and the workers of a data loader do.
    It is then read from the text, or from the error that caused this one.

    >>> missing_package(ModuleNotFoundError("No module named 'monai'", name='monai'))
    'monai'
    >>> missing_package(ImportError("No module named 'numba'; see the installation guide"))
    'numba'
    >>> missing_package(ModuleNotFoundError('see the installation guide')) is None
    True
    """
    while error is not None:
        if isinstance(error, ImportError):
            told = re.search(r"No module named '([^']+)'|^(\S+) is not installed", str(error))
            # The name of another ImportError is that of an installed module that lacks something.
            name = error.name if isinstance(error, ModuleNotFoundError) else None
            if name or told:
                return name or (told and (told.group(1) or told.group(2))) or None
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def import_fault(error: ImportError, what: str) -> str:
    """Return why an import failed, as words of an error sentence.

    Args:
        error: The error.
        what: What was imported.

    Returns:
        ``"'numba' is not installed"``, or the first line of the message where no package is known to be missing.

    >>> import_fault(ModuleNotFoundError("No module named 'numba'", name='numba'), 'mmdet3d')
    "'numba' is not installed"
    >>> import_fault(ImportError("cannot import name 'jit'"), 'mmdet3d')
    "mmdet3d cannot be imported (cannot import name 'jit')"
    """
    name = missing_package(error)
    if name:
        return f"'{name}' is not installed"
    return f'{what} cannot be imported ({str(error).strip().partition(chr(10))[0].rstrip(".") or type(error).__name__})'
