"""Workarounds for the supported versions of other packages."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

import numpy as np
import torch
from mmengine.utils import digit_version

SIMCC_VIS = 'mmpose.visualization.simcc_vis'
ACCEPTS_NAMES = digit_version(torch.__version__) >= digit_version('2.6')
"""Whether PyTorch's safe loader can be given an object under the name that a file has for it. With 2.4 and 2.5, a name
given to ``add_safe_globals`` breaks every later call of the loader; earlier versions have a fixed list."""


def history_method(owner: Any, name: str) -> Any:
    """Replace ``getattr`` in a checkpoint: return a statistic of MMEngine's ``HistoryBuffer``, refuse anything else.

    Args:
        owner: The class whose attribute the checkpoint asks for.
        name: Name of the attribute.

    Raises:
        pickle.UnpicklingError: If the attribute is not one of these statistics, or belongs to another class.
    """
    from mmengine.logging.history_buffer import HistoryBuffer

    if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean', 'sum', 'statistics'):
        raise pickle.UnpicklingError(f'Unsupported global: GLOBAL getattr({owner!r}, {name!r})')
    return getattr(HistoryBuffer, name)


def resume_globals() -> list[Any]:
    """Return the classes in MMEngine's own checkpoints, apart from tensors and built-in types.

    Its message hub saves ``HistoryBuffer`` objects and NumPy scalars, which ``torch.load(weights_only=True)``, the
    default since PyTorch 2.6, refuses, so that MMEngine 0.10.7 cannot resume from its own checkpoint. The buffer's
    methods are pickled as calls of ``getattr``, which :func:`history_method` replaces.
    """
    from mmengine.logging.history_buffer import HistoryBuffer

    scalar = np.float64(0).__reduce__()[0]
    reconstruct = np.zeros(1).__reduce__()[0]
    dtypes = {type(np.dtype(kind)) for kind in ('f8', 'f4', 'f2', 'i8', 'i4', 'i2', 'i1', 'u1', 'b1')}
    # NumPy 1 and 2 name the same two functions differently.
    modules = ('numpy.core.multiarray', 'numpy._core.multiarray')
    functions = [
        (function, f'{module}.{name}')
        for module in modules
        for function, name in ((scalar, 'scalar'), (reconstruct, '_reconstruct'))
    ]
    return [HistoryBuffer, (history_method, 'builtins.getattr'), np.ndarray, np.dtype, *dtypes, *functions]


def allow_resume() -> None:
    """Allow PyTorch's safe loader to read the classes of :func:`resume_globals`, and no others."""
    if ACCEPTS_NAMES:
        torch.serialization.add_safe_globals(resume_globals())


def register_config_package() -> None:
    """Let configs be inherited as ``kd_plugins::gfl/gfl_r18_bccd.py`` once the package is imported.

    MMEngine finds ``.mim`` in the folder of a distribution. For an editable installation it computes a folder that does
    not exist; for the name of a module it takes the folder of that module's file, which is right everywhere.
    """
    from mmengine.config import utils

    utils.MODULE2PACKAGE['kd_plugins'] = 'kd_plugins.version'


def image_of_map(values: torch.Tensor) -> Any:
    """Return a map as an 8-bit grey image, as torchvision's ``ToPILImage()`` does.

    Args:
        values: Values in [0, 1], of shape (H, W) or (1, H, W).

    >>> image_of_map(torch.tensor([[0.0, 0.5, 1.0]])).size
    (3, 1)
    """
    from PIL import Image

    grey = values.detach().cpu().float().mul(255).byte()
    return Image.fromarray(grey.reshape(grey.shape[-2:]).numpy())


class _WithoutTorchvision(SourceFileLoader):
    """Loader of a module that uses only ``ToPILImage`` of torchvision; replaces it during the import."""

    def exec_module(self, module: ModuleType) -> None:
        package, transforms = ModuleType('torchvision'), ModuleType('torchvision.transforms')
        transforms.ToPILImage = lambda: image_of_map  # type: ignore[attr-defined]
        package.transforms = transforms  # type: ignore[attr-defined]
        stand_ins = {stand_in.__name__: stand_in for stand_in in (package, transforms)}
        before = {name: sys.modules[name] for name in stand_ins if name in sys.modules}
        sys.modules.update(stand_ins)
        try:
            super().exec_module(module)
        finally:
            for name in stand_ins:
                del sys.modules[name]
            sys.modules.update(before)


class SimCCVisFinder:
    """Import finder for MMPose's ``simcc_vis`` where torchvision is missing or broken; it finds no other module."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of ``simcc_vis``; ``None`` leaves the module to Python's other finders."""
        if name != SIMCC_VIS:
            return None
        try:
            import_module('torchvision.transforms')
        except Exception:
            spec = PathFinder.find_spec(name, path, target)
            if spec is not None and isinstance(spec.loader, SourceFileLoader):
                spec.loader = _WithoutTorchvision(spec.loader.name, spec.loader.path)
            return spec
        return None


def allow_pose_visualizer() -> None:
    """Let MMPose's visualizer be imported without torchvision.

    MMPose 1.3.2 needs torchvision for one function of one module, to draw SimCC distributions, but every run with a
    visualizer imports that module. With a CPU build of torch, torchvision is often missing, or a CUDA build whose
    import fails with a RuntimeError. Where torchvision works, nothing changes.
    """
    if SimCCVisFinder not in sys.meta_path:
        sys.meta_path.insert(0, SimCCVisFinder)


def prepare() -> None:
    """Apply every change of this module that a run may need; a second call changes nothing."""
    allow_pose_visualizer()
    allow_resume()
    register_config_package()
