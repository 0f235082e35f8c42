"""Selection of the locations that a dense distiller compares, and its trust in the teacher at each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, nearest
from ..ops.selection import largest
from ..utils.argument_types import shown
from ..utils.checks import check_choice, check_number
from .base import Batch
from .locations import ground_truth_boxes, ground_truth_labels, location_labels, smallest_box_label

TRUTH = 'truth'
"""Trust where a label says that the teacher is right."""
TRUSTS = ('teacher', 'difference', TRUTH)
"""Kinds of trust in the teacher, see :class:`Regions`."""
AGREEMENT = 'agreement'
"""Trust by the agreement of several teachers, which the distillers that combine them compute themselves."""
TAU = 0.1
"""Default divergence of several teachers, in nats, at which the weight of ``'agreement'`` is 1 / e."""
BACKGROUND = 0.1
"""Highest probability with which a teacher is right where no object is."""


def check_agreement(key: str, trust: str | None, source: str, others: Sequence[str], tau: float) -> float:
    """Return ``tau``, and refuse a trust that needs several teachers where there is one.

    Args:
        key: Config key of the distiller, for error sentences.
        trust: Kind of trust; ``'agreement'`` needs several teachers.
        source: Name of the first teacher.
        others: Names of the others.
        tau: Divergence at which the weight is 1 / e.

    Raises:
        ConfigError: If the trust needs more teachers, or ``tau`` is not valid or not read.
    """
    if trust == AGREEMENT and not others:
        raise ConfigError(
            f"{key}.trust is 'agreement', which compares several teachers, and {key}.source is '{source}'; give the "
            "names of two or more of default_hooks.distill.teachers, such as source=['a', 'b']"
        )
    number = check_number(f'{key}.tau', tau, positive=True, example=TAU)
    if trust != AGREEMENT and number != TAU:
        raise ConfigError(
            f"{key}.tau is {tau}, which trust='agreement' alone reads, and trust is {shown(trust)}; leave it out"
        )
    return number


@dataclass(frozen=True)
class Selection:
    """Selection of locations by the teacher's highest class probability.

    Attributes:
        ratio: Share of the locations of the batch, over all ranks, or None.
        score: Lowest probability, or None.
        others: What the other locations learn: ``'zero'``, that there is no class, ``'teacher'``, what the teacher
            predicts, or ``'ignore'``, nothing.
    """

    ratio: float | None
    score: float | None
    others: str

    @classmethod
    def parse(cls, key: str, value: Any, choices: tuple[str, ...]) -> Selection:
        """Return the selection that a config describes.

        Args:
            key: Config key for the error sentence.
            value: A dict of ``ratio`` or ``score``, and ``others``.
            choices: Valid values of ``others``; the first is the default.

        Raises:
            ConfigError: If it is something else.

        >>> Selection.parse('distillers.x.select', {'ratio': 0.01}, ('zero', 'ignore'))
        Selection(ratio=0.01, score=None, others='zero')
        """
        if not isinstance(value, Mapping):
            raise ConfigError(f'{key} is {shown(value)}; valid: None, dict(ratio=0.01), dict(score=0.1)')
        names = ('ratio', 'score', 'others')
        for name in value:
            if name not in names:
                raise ConfigError(f"{key} has the entry '{name}'; {nearest(name, names)}")
        bounds = {name: value[name] for name in names[:2] if value.get(name) is not None}
        if len(bounds) != 1:
            raise ConfigError(f'{key} is {shown(dict(value))}; give either ratio, such as 0.01, or score, such as 0.1')
        ((name, bound),) = bounds.items()
        number = check_number(f'{key}.{name}', bound, positive=name == 'ratio', example=0.01)
        if number > 1:
            raise ConfigError(f'{key}.{name} is {bound}; it must be at most 1, such as 0.01')
        others = check_choice(f'{key}.others', value.get('others', choices[0]), choices)
        return cls(number if name == 'ratio' else None, number if name == 'score' else None, others)

    def __call__(self, confidence: Tensor, valid: Tensor) -> Tensor:
        """Return which locations are selected; every rank must call it.

        Args:
            confidence: The teacher's highest class probability of each location.
            valid: Booleans of the same shape, False on padding.
        """
        if self.ratio is not None:
            return largest(confidence, valid, self.ratio)
        return valid & (confidence >= (self.score or 0.0))


@torch.no_grad()
def teacher_is_right(scores: Tensor, centers: Tensor, batch: Batch, key: str) -> Tensor:
    """Return where the teacher's predictions agree with the labels.

    A location inside a ground-truth box agrees where the most probable class is that of the smallest such box; where
    there is one class, as in an RPN, it is that of every box. Any other location agrees where no probability is above
    :data:`BACKGROUND`. Source: the confident instances of MDCS
    (arXiv 2308.09922), here for locations instead of images.

    Args:
        scores: The teacher's class probabilities, shape (N, L, C).
        centers: Locations (x, y) in pixels, shape (L, 2).
        batch: The batch, with boxes and labels.
        key: Config key for the error sentence.

    Returns:
        Booleans, shape (N, L).
    """
    boxes = ground_truth_boxes(batch, scores)
    label = smallest_box_label(centers, boxes, ground_truth_labels(batch, key, boxes))
    if scores.shape[-1] == 1:
        label = label.clamp(max=0)
    confidence, predicted = scores.max(dim=-1)
    return torch.where(label >= 0, predicted == label, confidence <= BACKGROUND)


@torch.no_grad()
def label_is_predicted(scores: Tensor, corners: Tensor | None, batch: Batch, key: str) -> Tensor:
    """Return where the teacher's most probable class is the label, for heads whose classes share one distribution.

    Args:
        scores: The teacher's class probabilities, shape (N, L, C); L = 1 for classifiers.
        corners: First corners (x, y) of the cells in pixels, shape (L, 2); None for classifiers.
        batch: The batch, with ``gt_sem_seg`` or ``gt_label``. A pixel or image without a label is not right.
        key: Config key for the error sentence.

    Returns:
        Booleans, shape (N, L).

    Raises:
        ConfigError: If no image of the batch has labels of this kind.
    """
    return scores.argmax(dim=-1) == location_labels(batch, corners, scores, f"{key} is 'truth'")


class Regions:
    """Selection and trust of one distiller.

    ``trust`` is one of

    * ``'teacher'``: the teacher's highest class probability;
    * ``'difference'``: the largest difference of a class probability between both networks;
    * ``'truth'``: 1 where :func:`teacher_is_right`, 0 elsewhere.

    Args:
        key: Config key of the distiller, for error sentences.
        select: Config of a :class:`Selection`, or None: every location.
        trust: One of ``trusts``, or None: the same at every location.
        others: Valid values of ``select.others``.
        trusts: Valid kinds of trust.

    Raises:
        ConfigError: If an argument does not fit.
    """

    def __init__(
        self,
        key: str,
        select: Any,
        trust: str | None,
        others: tuple[str, ...] = ('ignore',),
        trusts: tuple[str, ...] = TRUSTS,
    ) -> None:
        self.key = key
        self.selection = None if select is None else Selection.parse(f'{key}.select', select, others)
        self.trust = None if trust is None else check_choice(f'{key}.trust', trust, trusts)
        self._nearest = trusts[0] if trusts[0] != TRUTH else None
        self.shares: dict[str, Tensor] = {}
        """Share of the valid locations that the last batch selected, to log."""
        self.counts: tuple[Tensor, Tensor] | None = None
        """Numbers of selected and of valid locations of the last batch of this rank, None without a selection."""

    @property
    def active(self) -> bool:
        """Whether the config asks for a selection or for trust."""
        return self.selection is not None or self.trust is not None

    @property
    def needs_labels(self) -> str | None:
        """Part of :attr:`~kd_plugins.distillers.BaseDistiller.needs_labels` that is about the trust, or None."""
        return f"trust='{TRUTH}' compares with labels; use trust={self._nearest!r}" if self.trust == TRUTH else None

    @property
    def needs_student(self) -> bool:
        """Whether :meth:`trusted` reads the student's probabilities."""
        return self.trust == 'difference'

    def selected(self, confidence: Tensor, valid: Tensor) -> Tensor:
        """Return which locations are selected; every rank must call it."""
        chosen = valid if self.selection is None else self.selection(confidence, valid)
        if self.selection is not None:
            self.counts = chosen.sum(), valid.sum()
            self.shares = {'selected': self.counts[0] / self.counts[1].clamp(min=1)}
        return chosen

    @torch.no_grad()
    def trusted(self, teacher: Tensor, student: Tensor | None, centers: Tensor | None, batch: Batch) -> Tensor:
        """Return the trust in the teacher at each location, shape (N, L).

        Args:
            teacher: The teacher's class probabilities, shape (N, L, C).
            student: The student's, likewise, where :attr:`needs_student`.
            centers: Locations (x, y) in pixels, shape (L, 2), or None where they are not on an image.
            batch: The batch.

        Raises:
            ConfigError: If the trust does not fit the batch.
        """
        if self.trust == 'teacher':
            return teacher.amax(dim=-1)
        if self.trust == 'difference' and student is not None:
            return (teacher - student.detach()).abs().amax(dim=-1)
        if self.trust == 'truth':
            if centers is None:
                raise ConfigError(
                    f"{self.key}.trust is 'truth' and the outputs are no maps (N, C, H, W) of images; "
                    "valid: None, 'teacher', 'difference'"
                )
            return teacher_is_right(teacher, centers, batch, f'{self.key}.trust').to(teacher.dtype)
        return torch.ones_like(teacher[..., 0])

    @torch.no_grad()
    def box_weights(
        self, teacher: Tensor, student: Tensor | None, centers: Tensor, valid: Tensor, batch: Batch
    ) -> Tensor:
        """Return the weights of the selected locations in a term on boxes, shape (N, L); every rank must call it.

        A teacher's box means nothing where it sees no object. So the weight is the teacher's highest class probability,
        or the largest difference of a probability; ``'truth'`` leaves the former where the teacher is right.

        Args:
            teacher: The teacher's class probabilities, shape (N, L, C).
            student: The student's, likewise, where :attr:`needs_student`.
            centers: Locations (x, y) in pixels, shape (L, 2).
            valid: Booleans of shape (N, L), False on padding.
            batch: The batch.
        """
        confidence = teacher.amax(dim=-1)
        weight = confidence if self.trust in (None, 'teacher') else self.trusted(teacher, student, centers, batch)
        if self.trust == 'truth':
            weight = weight * confidence
        return weight * self.selected(confidence, valid)
