"""Interface of a task for label-guided self-distillation: objects, the maps that the head reads, and losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ...errors import ConfigError
from ..base import Batch
from .objects import Objects


@dataclass(frozen=True)
class TaskSettings:
    """Settings of the distiller that the objects depend on.

    Attributes:
        key: Config key of the distiller, for error sentences.
        context: Whether each image is an object itself.
        masks: Whether objects are their masks instead of their boxes.
        reference: Whether cells and sizes are as in the release.
    """

    key: str
    context: bool = True
    masks: bool = False
    reference: bool = False

    def refuse_detection(self, student: nn.Module, kind: str) -> None:
        """Refuse the settings that only detectors have.

        Args:
            student: The student.
            kind: What it is instead.

        Raises:
            ConfigError: If one is set.
        """
        for name in ('masks', 'reference'):
            if getattr(self, name):
                raise ConfigError(
                    f'{self.key}.{name} is a setting for detectors, and {type(student).__name__} is a {kind}; leave '
                    f'{name} out'
                )


class GuidedTask:
    """Base class of the tasks.

    Args:
        student: The student.
        settings: Settings of the distiller.

    Raises:
        ConfigError: If they do not fit together.
    """

    def __init__(self, student: nn.Module, settings: TaskSettings) -> None:
        self.settings = settings

    @classmethod
    def fits(cls, student: nn.Module) -> bool:
        """Return whether the student is of this task."""
        raise NotImplementedError

    @property
    def descriptor_size(self) -> int:
        """Numbers in the descriptor of an object."""
        raise NotImplementedError

    def levels(self, count: int) -> Sequence[int]:
        """Return which of the student's maps its head reads, all of them by default.

        Args:
            count: Number of maps.
        """
        return range(count)

    def counts(self, name: str) -> bool:
        """Return whether a loss of the student trains the instructive maps, True by default.

        Args:
            name: Key in the student's loss dict.
        """
        return True

    def objects(self, batch: Batch, like: Tensor) -> Objects:
        """Return the objects of the ground truth.

        Args:
            batch: The batch.
            like: A tensor whose first dimension is N, with the dtype and device of the result.

        Raises:
            ConfigError: If the batch has no such labels.
        """
        raise NotImplementedError
