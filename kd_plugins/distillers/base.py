"""What every distiller is: one method, told which taps it reads, returning named raw losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..errors import ConfigError
from ..schedules import build_schedule

Taps = Mapping[str, Sequence[Tensor]]
"""Alias of a tap to the tensors that it gave (see :mod:`kd_plugins.taps`)."""


@dataclass(frozen=True)
class Batch:
    """What a distiller may know of the batch besides the taps.

    Attributes:
        inputs: Preprocessed network input, usually of shape (N, C, H, W).
        data_samples: The list of OpenMMLab data samples, one per image, or ``None``.
        iteration: 0-based iteration of the run.
        epoch: 0-based epoch of the run.
    """

    inputs: Any
    data_samples: Sequence[Any] | None
    iteration: int = 0
    epoch: int = 0

    @property
    def num_images(self) -> int:
        """Number of images of this rank's batch."""
        return len(self.inputs) if self.data_samples is None else len(self.data_samples)


class BaseDistiller(nn.Module):
    """One distillation method.

    The hook calls, in this order: :meth:`check_models` once before training, :meth:`initialize` once at the first batch, then
    :meth:`forward` at every batch.

    Args:
        weight: Number or weight schedule (:mod:`kd_plugins.schedules`) on every loss of this distiller.
        source: Whose taps teach: ``'teacher'``, or ``'student'`` for a deeper layer of the same network, whose outputs
            are then detached. ``'auto'`` is ``'teacher'`` where the hook has one.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names: tuple[str, ...] = ()
    """Names of the losses that :meth:`forward` returns, always all of them."""

    def __init__(self, weight: float | dict[str, Any] = 1.0, source: str = 'auto') -> None:
        super().__init__()
        if source not in ('auto', 'teacher', 'student'):
            raise ConfigError(f"distillers.*.source is '{source}'; valid: 'auto', 'teacher', 'student'")
        self.key = 'distillers.<name>'
        self.source = source
        self.schedule = build_schedule(weight, f'{self.key}.weight')

    def student_taps(self) -> dict[str, str]:
        """Return alias to path of what is read from the student."""
        raise ConfigError(f'{self.key}: {type(self).__name__} must define student_taps()')

    def teacher_taps(self) -> dict[str, str]:
        """Return alias to path of what is read from the teacher; by default the same as from the student."""
        return self.student_taps()

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Check the configuration against both networks and keep constants (strides, ``reg_max``), never modules.

        Args:
            student: The student network.
            teacher: The teacher network, the student itself where ``source='student'``.

        Raises:
            ConfigError: If they do not fit together.
        """

    def initialize(self, student: Taps, teacher: Taps) -> None:
        """Check the shapes of the first batch and make adapters that fit them.

        Raises:
            ConfigError: If the shapes do not fit together.
        """

    def spec(self) -> dict[str, Any]:
        """Return how the adapters were built, for error sentences and preflight."""
        return {name: repr(child) for name, child in self.named_children()}

    def monitors(self) -> dict[str, Tensor]:
        """Return what the last batch showed besides the losses, each of shape ``()``, for the log; may be nothing."""
        return {}

    def forward(self, student: Taps, teacher: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return each of :attr:`loss_names` with its raw, unweighted value of shape ``()``.

        All tensors arrive in float32 and outside autocast; those of the teacher carry no gradient.
        """
        raise ConfigError(f'{self.key}: {type(self).__name__} must define forward(student, teacher, batch)')
