"""The one place for what the supported versions of other packages make necessary."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import torch


def history_method(owner: Any, name: str) -> Any:
    """Stand in for ``getattr`` in a checkpoint: look up a statistic of MMEngine's ``HistoryBuffer``, refuse anything
    else.

    Raises:
        pickle.UnpicklingError: If another attribute, or one of another object, is asked for.
    """
    from mmengine.logging.history_buffer import HistoryBuffer

    if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean', 'sum', 'statistics'):
        raise pickle.UnpicklingError(f'Unsupported global: GLOBAL getattr({owner!r}, {name!r})')
    return getattr(HistoryBuffer, name)


def resume_globals() -> list[Any]:
    """Return the classes that MMEngine's own checkpoints hold besides tensors and builtins.

    Its message hub saves ``HistoryBuffer`` objects and NumPy scalars, which ``torch.load(weights_only=True)``, the
    default since PyTorch 2.6, refuses, so that MMEngine 0.10.7 cannot resume from its own checkpoint. The buffer's
    methods are pickled as calls of ``getattr``, for which a narrow stand-in is registered.
    """
    from mmengine.logging.history_buffer import HistoryBuffer

    scalar = np.float64(0).__reduce__()[0]
    reconstruct = np.zeros(1).__reduce__()[0]
    dtypes = {type(np.dtype(kind)) for kind in ('f8', 'f4', 'f2', 'i8', 'i4', 'i2', 'i1', 'u1', 'b1')}
    allowed = [HistoryBuffer, (history_method, 'builtins.getattr'), scalar, reconstruct, np.ndarray, np.dtype, *dtypes]
    # Files written under NumPy 1 name the same two functions differently.
    old = [(scalar, 'numpy.core.multiarray.scalar'), (reconstruct, 'numpy.core.multiarray._reconstruct')]
    return [*allowed, *old]


def allow_resume() -> None:
    """Let the safe loader read exactly what :func:`resume_globals` names, nothing else."""
    if hasattr(torch.serialization, 'add_safe_globals'):
        torch.serialization.add_safe_globals(resume_globals())


def register_config_package() -> None:
    """Let configs be inherited as ``kd_plugins::gfl/gfl_r18_bccd.py`` once the package is imported."""
    from mmengine.config import utils

    utils.MODULE2PACKAGE.setdefault('kd_plugins', 'kd_plugins')
