"""Log of every distillation term: unweighted value, weight, weighted value and its ratio to the task loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from mmengine.hooks import Hook, LoggerHook
from torch import Tensor

from ..distillers.base import Batch
from ..distillers.collection import Term


@dataclass(frozen=True)
class TermMeans:
    """Means of one term over the iterations since the last report.

    Attributes:
        key: Key of the term, :attr:`Term.key`.
        raw: Mean unweighted value.
        weight: Weight in the last iteration.
        weighted: Mean weighted value.
        ratio: Mean weighted value divided by the mean task loss; 0 where that is 0.
    """

    key: str
    raw: float
    weight: float
    weighted: float
    ratio: float

    def scalars(self) -> dict[str, float]:
        """Return the values by their names in the log.

        >>> TermMeans('distill.a.loss_x', 2.0, 0.5, 1.0, 0.25).scalars()['distill.a.loss_x/ratio']
        0.25
        """
        return {f'{self.key}/{name}': getattr(self, name) for name in ('raw', 'weight', 'weighted', 'ratio')}

    def sentence(self) -> str:
        """Return one line for the text log.

        >>> TermMeans('distill.a.loss_x', 2.0, 0.5, 1.0, 0.25).sentence()
        'distill.a.loss_x: raw 2.0000 x weight 0.5 = 1.0000 (25.0 % of the task loss)'
        """
        return (
            f'{self.key}: raw {self.raw:.4f} x weight {self.weight:.4g} = {self.weighted:.4f} '
            f'({100 * self.ratio:.1f} % of the task loss)'
        )


class TermLog:
    """Running sums of the terms since the last report, kept on their device until the report."""

    def __init__(self) -> None:
        self._sums: list[Tensor] = []
        self._terms: list[tuple[str, float]] = []
        self._count = 0

    def add(self, terms: Sequence[Term], task: Tensor) -> None:
        """Add one iteration.

        Args:
            terms: The terms, the same ones in every iteration.
            task: The task loss of shape ``()``.
        """
        values = [task, *(term.raw for term in terms), *(term.weighted for term in terms)]
        values = [value.detach() for value in values]
        if [key for key, _ in self._terms] != [term.key for term in terms]:
            self._sums, self._count = [], 0  # the interrupted run had other terms
        self._sums = [total + value for total, value in zip(self._sums, values)] if self._count else values
        self._terms = [(term.key, term.weight) for term in terms]
        self._count += 1

    def take(self) -> list[TermMeans]:
        """Return the means of every term and reset the sums; the list is empty where no iteration was added."""
        if not self._count:
            return []
        means = torch.stack([value.float() for value in self._sums]).div(self._count).tolist()
        task, raws, weighted = means[0], means[1 : 1 + len(self._terms)], means[1 + len(self._terms) :]
        reports = [
            TermMeans(key, raw, weight, value, value / task if task else 0.0)
            for (key, weight), raw, value in zip(self._terms, raws, weighted)
        ]
        self._sums, self._terms, self._count = [], [], 0
        return reports

    def state_dict(self) -> dict[str, Any]:
        """Return the sums since the last report, so that a resumed run reports the means of the whole one."""
        return {'sums': [value.cpu() for value in self._sums], 'terms': self._terms, 'count': self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the sums."""
        self._sums, self._count = list(state['sums']), int(state['count'])
        self._terms = [(key, weight) for key, weight in state['terms']]


@dataclass(frozen=True)
class Monitors:
    """Values that one part of a run monitors, from the last batch.

    Attributes:
        distiller: Name of the distiller, or of another part.
        values: Name to value.
    """

    distiller: str
    values: Mapping[str, float]

    def scalars(self) -> dict[str, float]:
        """Return the values by their names in the log.

        >>> Monitors('a', {'points': 80.0}).scalars()
        {'distill.a/points': 80.0}
        """
        return {f'distill.{self.distiller}/{name}': value for name, value in self.values.items()}

    def sentence(self) -> str:
        """Return one line for the text log.

        >>> Monitors('a', {'points': 80.0, 'spread': 0.5833}).sentence()
        'distill.a: points 80, spread 0.5833'
        """
        listed = ', '.join(f'{name} {value:.4g}' for name, value in self.values.items())
        return f'distill.{self.distiller}: {listed}'


class Monitored(Protocol):
    """Part of a run with monitored values: a distiller, pseudo labels, or statistics."""

    def monitors(self) -> Mapping[str, Tensor]:
        """Return the values by name, as scalars on their device."""


def read_monitors(monitored_parts: Mapping[str, Monitored]) -> list[Monitors]:
    """Return all monitored values, with one transfer to the host.

    Args:
        monitored_parts: Name to part.
    """
    monitored = {name: part.monitors() for name, part in monitored_parts.items()}
    tensors = [value.detach().float() for values in monitored.values() for value in values.values()]
    numbers = iter(torch.stack(on_one_device(tensors)).tolist() if tensors else ())
    return [Monitors(name, dict(zip(values, numbers))) for name, values in monitored.items() if values]


def on_one_device(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors on the accelerator that one of them is on; weights of the run's schedules are on the CPU."""
    device = next((one.device for one in tensors if one.device.type != 'cpu'), torch.device('cpu'))
    return [one.to(device) for one in tensors]


def image_names(batch: Batch, limit: int = 8) -> str:
    """Return the paths or ids of the images of a batch, for an error sentence."""
    # Data samples are a list in OpenMMLab; elsewhere they may be labels, or a dict of lists.
    samples = batch.data_samples if isinstance(batch.data_samples, (list, tuple)) else []
    names = []
    for sample in samples[:limit]:
        info = getattr(sample, 'metainfo', None) or {}
        names.append(str(info.get('img_path') or info.get('img_id') or '?'))
    rest = f' and {len(samples) - limit} more' if len(samples) > limit else ''
    return (', '.join(names) or 'unknown images') + rest


def report_interval(hooks: Iterable[Hook], own: int | None) -> int:
    """Return the iterations between two reports: a setting, or that of the run's LoggerHook.

    Args:
        hooks: The hooks of the run.
        own: The setting, ``None`` where there is none.

    >>> report_interval([LoggerHook(interval=20)], None), report_interval([], None), report_interval([], 5)
    (20, 10, 5)
    """
    logged = (int(hook.interval) for hook in hooks if isinstance(hook, LoggerHook))
    return next(logged, 10) if own is None else own


def is_due(batch_idx: int, interval: int, length: int | None) -> bool:
    """Return whether a report follows an iteration: after ``interval`` ones, or at the end of a shorter epoch.

    Args:
        batch_idx: 0-based iteration of the epoch.
        interval: Iterations between two reports.
        length: Iterations of the epoch; ``None`` in a loop of iterations.

    >>> [batch_idx for batch_idx in range(10) if is_due(batch_idx, 4, 10)], is_due(2, 4, 3), is_due(2, 4, None)
    ([3, 7], True, False)
    """
    return interval > 0 and ((batch_idx + 1) % interval == 0 or (batch_idx + 1 == length and length <= interval))


def logger_follows(runner: Any, hook: Hook, batch_idx: int) -> bool:
    """Return whether a LoggerHook logs this iteration after a hook.

    Args:
        runner: MMEngine's runner.
        hook: The hook.
        batch_idx: 0-based iteration of the epoch.
    """
    for other in runner.hooks[runner.hooks.index(hook) + 1 :]:
        if not isinstance(other, LoggerHook):
            continue
        if other.every_n_inner_iters(batch_idx, other.interval):
            return True
        length = len(runner.train_dataloader)
        if batch_idx + 1 == length and (not other.ignore_last or length <= other.interval):
            return True
    return False


def log_scalars(visualizer: Any, scalars: Mapping[str, float], step: int, merge: bool) -> None:
    """Write scalars to a visualizer, on request together with the scalars that it gets next.

    Backends such as Weights & Biases count calls. One call per step keeps their axis that of a run without
    distillation.

    Args:
        visualizer: MMEngine's visualizer.
        scalars: Name to value.
        step: Number of the iteration.
        merge: Whether the LoggerHook writes its scalars later in this iteration.
    """
    if not merge:
        visualizer.add_scalars(scalars, step=step)
        return

    def add_scalars(scalar_dict: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        del visualizer.add_scalars
        visualizer.add_scalars({**scalar_dict, **scalars}, *args, **kwargs)

    # An attribute of the instance, which the call removes.
    visualizer.add_scalars = add_scalars
