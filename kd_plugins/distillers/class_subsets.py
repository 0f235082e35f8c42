"""Teachers that know other classes than the training data: the class scores that both have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..utils.argument_types import shown
from ..utils.checks import channel_count

CHECKPOINT = 'checkpoint'
"""Value of ``teacher_classes`` that reads the names from the teacher's checkpoint."""


def check_teacher_classes(key: str, value: Any, divergence: str, trust: str | None) -> str | list[str] | None:
    """Return the setting ``teacher_classes`` of a distiller of class scores.

    Args:
        key: Config key of the distiller, for error sentences.
        value: None, ``'checkpoint'`` or a list of names.
        divergence: Divergence of the distiller.
        trust: Trust of the distiller.

    Raises:
        ConfigError: If it is something else, or another setting reads labels, which are those of all classes.
    """
    if value is None:
        return None
    key = f'{key}.teacher_classes'
    if not isinstance(value, str) or value != CHECKPOINT:
        names = list(value) if isinstance(value, (list, tuple)) else []
        if not names or len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
            raise ConfigError(
                f"{key} is {shown(value)}; valid: None, 'checkpoint', or the different names of the teacher's classes "
                'in the order of its logits'
            )
        value = names
    reader = f"divergence='{divergence}'" if divergence in ('nkd', 'dkd') else f"trust='{trust}'"
    if divergence in ('nkd', 'dkd') or trust == 'truth':
        raise ConfigError(
            f'{key} is {shown(value)} with {reader}, which compares with labels of all classes; use '
            "divergence='kl' and another trust"
        )
    return value


class ClassSubset(nn.Module):
    """The classes that a teacher shares with the training data, by name.

    Args:
        key: Config key of the distiller, for error sentences.
        teacher: Config key of the teacher, for error sentences.
        teacher_classes: Names of the teacher's classes, in the order of its logits.
        classes: Names of the classes of the training data, in the order of the student's logits.
        class_dim: Dimension of the classes.
        softmax: Whether the classes of a location share one distribution, so that no anchors share a cell.

    Raises:
        ConfigError: If they share no class, one alone with ``softmax``, or all in the same order.

    >>> subset = ClassSubset('distillers.x', 'teacher', ['cow', 'dog'], ['cat', 'dog', 'cow'], 1, False)
    >>> subset.of_student([torch.tensor([[0.0, 1.0, 2.0]])]), subset.of_teacher([torch.tensor([[2.0, 1.0]])])
    ([tensor([[1., 2.]])], [tensor([[1., 2.]])])
    """

    student: Tensor
    teacher: Tensor

    def __init__(
        self,
        key: str,
        teacher: str,
        teacher_classes: Sequence[str],
        classes: Sequence[str],
        class_dim: int,
        softmax: bool,
    ) -> None:
        super().__init__()
        self.key, self.class_dim, self.softmax = key, class_dim, softmax
        self.counts = {'student': len(classes), 'teacher': len(teacher_classes)}
        shared = [name for name in classes if name in teacher_classes]
        if list(teacher_classes) == list(classes):
            raise ConfigError(
                f'{key}.teacher_classes: the classes of {teacher} are those of the training data, in the same order; '
                'leave it out'
            )
        if len(shared) < 1 + softmax:
            found = f"'{shared[0]}' alone" if shared else 'no class'
            raise ConfigError(
                f'{key}.teacher_classes: {teacher} knows {shown(list(teacher_classes))} and the training data have '
                f'{shown(list(classes))}, which share {found}; nearest: a FeatureDistiller'
            )
        for name, names in (('student', classes), ('teacher', teacher_classes)):
            index = torch.tensor([list(names).index(one) for one in shared])
            self.register_buffer(name, index, persistent=False)

    def of_student(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return the shared classes of the student's logits of each level."""
        return [self._of('student', level, self.student) for level in levels]

    def of_teacher(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return the shared classes of the teacher's logits of each level."""
        return [self._of('teacher', level, self.teacher) for level in levels]

    def _of(self, role: str, level: Tensor, index: Tensor) -> Tensor:
        channels = channel_count(f'{self.key}.class_dim', level, self.class_dim, 'an output')
        anchors, rest = divmod(channels, self.counts[role])
        if rest or anchors < 1 or (self.softmax and anchors > 1):
            raise ConfigError(
                f"{self.key}.teacher_classes: the {role}'s logits have {channels} channels for {self.counts[role]} "
                'classes; tap the layer of the class logits of a head without a channel for the background'
            )
        dim = self.class_dim % level.ndim
        return level.unflatten(dim, (anchors, self.counts[role])).index_select(dim + 1, index).flatten(dim, dim + 1)
