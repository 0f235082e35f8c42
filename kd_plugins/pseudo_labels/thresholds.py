"""Thresholds of scores for each class: fixed ones, and ones that follow the scores of recent images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import ConfigError, nearest
from ..ops.gathering import gather_rows
from ..utils.argument_types import shown
from ..utils.checks import check_integer, check_number, is_integer
from .mixture import fit_mixture, upper_mode

OTHERS = 'others'
"""Entry of fixed thresholds for the classes that are not named."""
ADAPTIVE = ('type', 'queue', 'initial', 'least', 'expected')


class Thresholds(Protocol):
    """Threshold of each class."""

    expected: bool
    """Whether an image first keeps as many instances as the sum of its scores."""

    def bind(self, names: Sequence[str]) -> None:
        """Set the names of the classes."""

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Take over the scores of a batch; every rank must call it."""

    def of(self, labels: Tensor) -> Tensor:
        """Return the threshold of each label."""

    def values(self) -> dict[int, float]:
        """Return the thresholds that differ between classes."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run cannot recompute."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore it."""


def build_thresholds(config: Any, key: str) -> Thresholds:
    """Return the thresholds of a config.

    Args:
        config: A number; a dict of class to number; or ``dict(type='adaptive', ...)``.
        key: Config key.

    Raises:
        ConfigError: If it is something else.
    """
    if isinstance(config, Mapping) and 'type' in config:
        if config['type'] != 'adaptive':
            raise ConfigError(f"{key}.type is {shown(config['type'])}; valid: 'adaptive'")
        for name in config:
            if name not in ADAPTIVE:
                raise ConfigError(f'{key} has no setting {shown(name)}; {nearest(str(name), ADAPTIVE)}')
        return AdaptiveThresholds(**{name: value for name, value in config.items() if name != 'type'}, key=key)
    return FixedThresholds(config, key)


def _share(key: str, value: Any, example: float) -> float:
    number = check_number(key, value, positive=False, example=example)
    if number > 1:
        raise ConfigError(f'{key} is {shown(value)}; it must be from 0 to 1, such as {example}')
    return number


class FixedThresholds:
    """Thresholds that do not change.

    Args:
        config: One number, or a dict of class name or index to number, whose entry ``'others'`` is that of all other
            classes.
        key: Config key.

    Raises:
        ConfigError: If a number is outside 0 to 1.

    >>> FixedThresholds({0: 0.9, 'others': 0.5}, 'score_thr').of(torch.tensor([1, 0]))
    tensor([0.5000, 0.9000])
    """

    expected = False

    def __init__(self, config: Any, key: str) -> None:
        self.key = key
        self._by_class: dict[int, float] = {}
        self._by_name: dict[str, float] = {}
        self._others: float | None = None
        if not isinstance(config, Mapping):
            self._others = _share(key, config, 0.7)
            return
        if not config:
            raise ConfigError(f'{key} is an empty dict; give a number, or dict(person=0.7, {OTHERS}=0.5)')
        for name, value in config.items():
            number = _share(f'{key}.{name}', value, 0.7)
            if name == OTHERS:
                self._others = number
            elif is_integer(name):
                self._by_class[name] = number
            else:
                self._by_name[str(name)] = number

    def bind(self, names: Sequence[str]) -> None:
        """Find the classes by their names.

        Raises:
            ConfigError: If there is no such class, or a class has no threshold.
        """
        known = list(names)
        for name, value in self._by_name.items():
            if name not in known:
                raise ConfigError(f"{self.key} names the class '{name}'; {nearest(name, known, 6)}")
            self._by_class[known.index(name)] = value
        self._by_name = {}
        missing = [name for index, name in enumerate(known) if index not in self._by_class]
        if self._others is None and missing:
            raise ConfigError(f"{self.key} has no threshold for the class '{missing[0]}'; nearest: {OTHERS}=0.7")

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Do nothing."""

    def of(self, labels: Tensor) -> Tensor:
        """Return the threshold of each label.

        Raises:
            ConfigError: If the names of the classes are not known, or a class has no threshold.
        """
        if self._by_name:
            name = next(iter(self._by_name))
            raise ConfigError(
                f"{self.key} names the class '{name}', and the data set has no names of classes; use its index"
            )
        fallback = math.nan if self._others is None else self._others
        found = torch.full(labels.shape, fallback, device=labels.device)
        for index, value in self._by_class.items():
            found = found.masked_fill(labels == index, value)
        if self._others is None and bool(found.isnan().any()):
            index = int(labels[found.isnan()][0])
            raise ConfigError(f'{self.key} has no threshold for the class {index}; nearest: {OTHERS}=0.7')
        return found

    def values(self) -> dict[int, float]:
        """Return nothing: the config holds the thresholds."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""


class AdaptiveThresholds:
    """Thresholds between two normal distributions of the last scores of each class.

    Consistent-Teacher (arXiv 2209.01589, section 3.3) fits them to a queue of scores of all ranks.

    Args:
        queue: Number of the last scores of a class that are used.
        initial: Threshold of a class with less than ``least`` scores, or without a score in the upper component.
        least: Fewest scores of a fit.
        expected: Whether an image first keeps as many instances as the sum of its scores, the best ones.
        key: Config key.

    Raises:
        ConfigError: If a setting is out of its range.
    """

    def __init__(
        self, queue: int = 100, initial: float = 0.5, least: int = 4, expected: bool = True, key: str = 'score_thr'
    ) -> None:
        self.least = check_integer(f'{key}.least', least, 2, 'such as 4')
        self.queue = check_integer(f'{key}.queue', queue, self.least, 'such as 100')
        self.initial = _share(f'{key}.initial', initial, 0.5)
        if not isinstance(expected, bool):
            raise ConfigError(f'{key}.expected is {shown(expected)}; valid: True, False')
        self.expected = expected
        self._scores: dict[int, Tensor] = {}
        self._values: dict[int, float] = {}

    def bind(self, names: Sequence[str]) -> None:
        """Do nothing: classes appear with their first score."""

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Append the scores of a batch to the queues and fit again; every rank must call it.

        Args:
            scores: Shape (N,).
            labels: Classes, shape (N,).
        """
        rows = gather_rows(torch.stack([labels.double(), scores.double()], dim=1)).cpu()
        changed = [int(label) for label in rows[:, 0].unique()]
        for label in changed:
            former = self._scores.get(label, rows.new_zeros(0))
            self._scores[label] = torch.cat([former, rows[rows[:, 0] == label, 1]])[-self.queue :]
        self._fit(changed)

    def _fit(self, classes: Sequence[int]) -> None:
        self._values.update(dict.fromkeys(classes, self.initial))
        fitted = [label for label in classes if len(self._scores[label]) >= self.least]
        if not fitted:
            return
        scores = torch.zeros(len(fitted), self.queue, dtype=torch.float64)
        valid = torch.zeros_like(scores, dtype=torch.bool)
        for row, label in enumerate(fitted):
            count = len(self._scores[label])
            scores[row, :count], valid[row, :count] = self._scores[label], True
        thresholds = upper_mode(scores, valid, fit_mixture(scores, valid)).tolist()
        self._values.update({label: value for label, value in zip(fitted, thresholds) if not math.isnan(value)})

    def of(self, labels: Tensor) -> Tensor:
        """Return the threshold of each label, ``initial`` of classes without a score so far."""
        found = torch.full(labels.shape, self.initial, dtype=torch.float64, device=labels.device)
        for label, value in self._values.items():
            found = found.masked_fill(labels == label, value)
        return found

    def values(self) -> dict[int, float]:
        """Return the threshold of each class with scores."""
        return dict(sorted(self._values.items()))

    def state_dict(self) -> dict[str, Any]:
        """Return the queues and the thresholds."""
        return {'scores': dict(self._scores), 'values': dict(self._values)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the queues and the thresholds; MMEngine reads them onto the device, and they go back to the CPU."""
        self._scores = {int(label): scores[-self.queue :].double().cpu() for label, scores in state['scores'].items()}
        self._values = {int(label): float(value) for label, value in state['values'].items()}
