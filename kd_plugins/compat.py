"""Workarounds for the supported versions of other packages."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Sequence
from enum import Enum
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import torch
from mmengine.utils import digit_version

TORCHVISION_USERS = ('mmpose.visualization.simcc_vis', 'timm')
"""Modules of other packages that import torchvision and that are used here without it."""
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


class StandIn:
    """Stand-in for a class or a function of torchvision that another package names at its import and we never use."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise ImportError(f"torchvision, whose '{type(self).__name__}' is called here, is not installed or not usable")


class InterpolationMode(Enum):
    """Names of torchvision's interpolations, which timm reads at its import."""

    NEAREST = 'nearest'
    NEAREST_EXACT = 'nearest-exact'
    BILINEAR = 'bilinear'
    BICUBIC = 'bicubic'
    BOX = 'box'
    HAMMING = 'hamming'
    LANCZOS = 'lanczos'


class TorchvisionModule(ModuleType):
    """Module of the stand-in for torchvision; it has every public name."""

    _known: ClassVar[dict[str, Any]] = {'ToPILImage': lambda: image_of_map, 'InterpolationMode': InterpolationMode}

    def __getattr__(self, name: str) -> Any:
        if name.startswith('_'):
            raise AttributeError(name)
        if self.__name__ == 'torchvision' and name.islower():  # `from torchvision import transforms`
            return import_module(f'torchvision.{name}')
        value = self._known[name] if name in self._known else type(name, (StandIn,), {'__module__': self.__name__})
        setattr(self, name, value)
        return value


class _TorchvisionFinder(Loader):
    """Import finder and loader of the stand-in for torchvision."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        # timm has a fallback for this module, and a stand-in would hide that it is missing.
        if name.partition('.')[0] != 'torchvision' or name == 'torchvision.models.feature_extraction':
            return None
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return TorchvisionModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module empty: its attributes are made when they are read."""


def _torchvision_modules() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.partition('.')[0] == 'torchvision'}


class _WithoutTorchvision(SourceFileLoader):
    """Loader of a module that names parts of torchvision; stand-ins replace them during the import, and only then."""

    def exec_module(self, module: ModuleType) -> None:
        before, finder = _torchvision_modules(), _TorchvisionFinder()
        for name in before:
            del sys.modules[name]
        sys.meta_path.insert(0, finder)
        try:
            super().exec_module(module)
        finally:
            sys.meta_path.remove(finder)
            for name in _torchvision_modules():
                del sys.modules[name]
            sys.modules.update(before)


class TorchvisionUserFinder:
    """Import finder for :data:`TORCHVISION_USERS` where torchvision is missing or broken; it finds no other module."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of such a module; ``None`` leaves the module to Python's other finders."""
        if name not in TORCHVISION_USERS:
            return None
        # Whoever only asks whether timm is there need not wait for torchvision.
        if PathFinder.find_spec(name, path, target) is None:
            return None
        try:
            import_module('torchvision.transforms')
        except Exception:
            spec = PathFinder.find_spec(name, path, target)
            if spec is not None and isinstance(spec.loader, SourceFileLoader):
                spec.loader = _WithoutTorchvision(spec.loader.name, spec.loader.path)
            return spec
        return None


def allow_missing_torchvision() -> None:
    """Let MMPose's visualizer and timm be imported without torchvision.

    MMPose 1.3.2 needs torchvision for one function of one module, to draw SimCC distributions, but every run with a
    visualizer imports that module. timm needs it for its data pipelines, not for its networks, but imports both
    together. With a CPU build of torch, torchvision is often missing, or a CUDA build whose import fails with a
    RuntimeError. Where torchvision works, nothing changes.
    """
    if TorchvisionUserFinder not in sys.meta_path:
        sys.meta_path.insert(0, TorchvisionUserFinder)


def prepare() -> None:
    """Apply every change of this module that a run may need; a second call changes nothing."""
    allow_missing_torchvision()
    allow_resume()
    register_config_package()
