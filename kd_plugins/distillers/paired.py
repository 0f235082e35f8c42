"""Base class of the distillers that compare outputs of the student with outputs of a teacher, tap by tap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from ..ops.resizing import without_padding
from ..tap_paths import TapPath
from ..taps import match_modules
from ..utils.head_types import lineage
from .base import BaseDistiller, Batch, Taps
from .locations import positions_on_images
from .sources import of_all_teachers

RESIZES = ('bilinear', 'nearest', 'area')
"""Interpolations of :func:`resize_map`."""


class TapPair(NamedTuple):
    """A tap of the student and the tap of the teacher that it is compared with.

    The keys are names of arguments in the config. They are the aliases of the taps, so that an error about a path names
    the argument that sets it.
    """

    student_key: str
    student_path: str
    teacher_key: str
    teacher_path: str

    @classmethod
    def of(cls, key: str, path: str, teacher_key: str, teacher_path: str | None) -> TapPair:
        """Return a pair whose teacher path is that of the student where it is not given."""
        return cls(key, path, teacher_key, path if teacher_path is None else teacher_path)

    def outputs(self, student_outputs: Taps, teacher_outputs: Taps) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Return the outputs of both taps."""
        return student_outputs[self.student_key], teacher_outputs[self.teacher_key]

    def taught(self, teacher_outputs: Taps) -> list[Sequence[Tensor]]:
        """Return the outputs of the tap on each teacher, the first one first."""
        return of_all_teachers(teacher_outputs, self.teacher_key)


def module_above(
    model: nn.Module, path: str, key: str, role: str, fits: Callable[[nn.Module], bool]
) -> nn.Module | None:
    """Return the nearest module at or above a tapped layer that fits, or None.

    Args:
        model: The network.
        path: Path of the tap.
        key: Config key of the path for the error sentence.
        role: ``'student'`` or ``'teacher'``, for the error sentence.
        fits: Whether a module is the one that is searched.

    Raises:
        ConfigError: If the path names no module.
    """
    name, _ = match_modules(model, TapPath.parse(path, key).module, key, role)[0]
    return next((module for module in reversed(lineage(model, name)) if fits(module)), None)


class PairedDistiller(BaseDistiller):
    """Base of the distillers that compare taps in pairs.

    Args:
        pairs: The pairs of taps.
        weight, source, key: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    def __init__(
        self, pairs: Sequence[TapPair], weight: float | dict[str, Any], source: str | list[str], key: str
    ) -> None:
        super().__init__(weight, source, key)
        self.pairs = tuple(pairs)

    def student_taps(self) -> dict[str, str]:
        """Return the student's tap of each pair."""
        return {pair.student_key: pair.student_path for pair in self.pairs}

    def teacher_taps(self) -> dict[str, str]:
        """Return the teacher's tap of each pair."""
        return {pair.teacher_key: pair.teacher_path for pair in self.pairs}

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse a layer that would teach itself."""
        for pair in self.pairs:
            if teacher is student and pair.student_path == pair.teacher_path:
                raise ConfigError(
                    f"{self.key}.{pair.student_key}: '{pair.student_path}' would teach itself; give a teacher, for "
                    f"example teacher=dict(type='kd_plugins.EMATeacher'), or set {pair.teacher_key} to the path of a "
                    'deeper layer'
                )


def resize_map(x: Tensor, size: Sequence[int], mode: str | None) -> Tensor:
    """Return a feature map at another spatial size.

    Args:
        x: (N, C, *spatial), with one to three spatial axes.
        size: Spatial size to reach.
        mode: ``'bilinear'`` (linear in any number of axes), ``'nearest'`` or ``'area'``. None returns ``x`` unchanged,
            as does a map that has the size already.

    >>> import torch
    >>> resize_map(torch.zeros(1, 2, 4, 4), (2, 3), 'bilinear').shape
    torch.Size([1, 2, 2, 3])
    """
    if mode is None or x.shape[2:] == tuple(size):
        return x
    if mode != 'bilinear':
        return F.interpolate(x, tuple(size), mode=mode)
    linear = {3: 'linear', 4: 'bilinear', 5: 'trilinear'}[x.ndim]
    return F.interpolate(x, tuple(size), mode=linear, align_corners=False)


def resize_on_images(
    x: Tensor, size: Sequence[int], mode: str | None, batch: Batch, inside: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Return :func:`resize_map` without padding, see :func:`kd_plugins.ops.resizing.without_padding`.

    Args:
        x: (N, C, *spatial).
        size: Spatial size to reach.
        mode: See :func:`resize_map`.
        batch: The batch, which says where the images are.
        inside: The same for the positions of ``x``, booleans (N, P), where the caller knows it.

    Returns:
        The map, and which of its positions were interpolated from others than padding; None, for all, where there is
        no padding or nothing to resize.
    """
    if mode is None or x.shape[2:] == tuple(size):
        return x, None
    if inside is None:
        (inside,) = positions_on_images([x], batch)
    return without_padding(x, inside, partial(resize_map, size=size, mode=mode))
