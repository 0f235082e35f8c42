"""Recipes: for each method a function that fills in the entry for a model, or says why the method does not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ..taps import match_modules
from ..utils.head_types import is_a

Settings = dict[str, Any]
DEEP = 32
"""Stride of the maps that tokens of a foundation model are compared with: patches of 16 pixels, images of half size."""


@dataclass(frozen=True)
class Network:
    """A network and the facts about its training that recipes need.

    Attributes:
        model: The network.
        features: Tap of the feature maps that its head reads, None where no layer gives them.
        deep: Tap of the one of these maps whose cells are :data:`DEEP` pixels wide, None where no layer gives it.
        batch_size: Images in a batch of its training.
        length: Length of its training, in epochs or iterations.
        by_epoch: Whether the length counts epochs.
        pipeline: Steps of its labelled training data.
        averaged: Whether its training keeps an average in MMEngine's EMAHook.
    """

    model: nn.Module
    features: str | None
    deep: str | None = None
    batch_size: int = 1
    length: int = 1
    by_epoch: bool = False
    pipeline: Sequence[Settings] = ()
    averaged: bool = False

    @property
    def levels(self) -> int:
        """Number of layers that the tap of the feature maps names."""
        return len(match_modules(self.model, self.features, 'tap')) if self.features else 0

    def part(self, path: str) -> nn.Module | None:
        """Return the module at a path, None where there is none."""
        try:
            return self.model.get_submodule(path)
        except AttributeError:
            return None

    def schedule(self, **shares: float) -> Settings:
        """Return arguments of a weight schedule, each a share of the training.

        >>> Network(nn.Identity(), None, length=12, by_epoch=True).schedule(begin=0.25, end=0.5)
        {'begin': 3.0, 'end': 6.0, 'by_epoch': True}
        >>> Network(nn.Identity(), None, length=80000).schedule(end=0.05)
        {'end': 4000}
        """
        if self.by_epoch:
            return {**{name: round(share * self.length, 2) for name, share in shares.items()}, 'by_epoch': True}
        return {name: max(round(share * self.length), 1) for name, share in shares.items()}

    def has_type(self, path: str, name: str) -> bool:
        """Return whether the module at a path is of a class with this name, or derived from one."""
        found = self.part(path)
        return found is not None and is_a(found, name)


@dataclass(frozen=True)
class Pair:
    """A student and, where there is another network that teaches, the teacher.

    Attributes:
        student: The network that is trained.
        teacher: The teacher; the student where its own average teaches.
    """

    student: Network
    teacher: Network

    @property
    def frozen(self) -> bool:
        """Whether the teacher is another network, trained before."""
        return self.teacher is not self.student

    def on_features(self, distiller: str, **settings: Any) -> Settings:
        """Return the entry of a distiller on the feature maps of both networks.

        Args:
            distiller: Its registered name.
            settings: Its other arguments.

        Raises:
            Unsuitable: If no layer gives the maps.
        """
        for role, network in (('student', self.student), ('teacher', self.teacher)):
            if network.features is None:
                raise Unsuitable(f'no layer of the {role} gives the maps that its head reads; set {role}_tap by hand')
        taps = dict(student_tap=self.student.features)
        if self.teacher.features != self.student.features:
            taps['teacher_tap'] = self.teacher.features
        return dict(type=f'kd_plugins.{distiller}', **taps, **settings)

    def warm_up(self, value: float) -> Settings:
        """Return a schedule that reaches its value after a twentieth of the training."""
        return dict(type='kd_plugins.LinearWarmup', value=value, **self.student.schedule(end=1 / 20))


class Unsuitable(Exception):
    """A method does not fit a model; the message is the reason."""


@dataclass(frozen=True)
class Recipe:
    """A method with what is known about it.

    Attributes:
        name: Name of the entry.
        title: The method in a few words, with its source.
        evidence: What was measured, where, and by whom.
        cost: What a training step costs more.
        settings: Function from a pair of networks to settings of :class:`~kd_plugins.hooks.DistillHook`, with its
            ``distillers``. It raises :class:`Unsuitable`.
    """

    name: str
    title: str
    evidence: str
    cost: str
    settings: Callable[[Pair], Settings]


@dataclass
class Suggestion:
    """An entry that was tried, or the reason why there is none.

    Attributes:
        recipe: The method.
        settings: Settings of the hook; empty where the method does not fit.
        reason: Why the method does not fit; empty where it does.
        parameters: Number of parameters of adapters, which only the training has.
    """

    recipe: Recipe
    settings: Settings = field(default_factory=dict)
    reason: str = ''
    parameters: int = 0
