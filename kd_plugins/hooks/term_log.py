"""Logging of every distillation term: raw value, weight, weighted value and its ratio to the task loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..distillers.base import BaseDistiller


class TermLog:
    """Running means of the terms since the last report, kept on their device until somebody reads them."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, raw: dict[str, Tensor], weighted: dict[str, Tensor], task: Tensor) -> None:
        """Add one iteration.

        Args:
            raw: Loss key to its unweighted value of shape ``()``.
            weighted: Loss key to its weighted value of shape ``()``.
            task: The task's own loss of shape ``()``.
        """
        values = {'task': task}
        values.update({f'{key}/raw': value for key, value in raw.items()})
        values.update({f'{key}/weighted': value for key, value in weighted.items()})
        for key, value in values.items():
            value = value.detach()
            self._sums[key] = self._sums[key] + value if key in self._sums else value
        self._count += 1

    def take(self, weights: dict[str, float]) -> dict[str, float]:
        """Return the means and start again.

        Args:
            weights: Distiller name to its weight at this iteration.

        Returns:
            ``<key>/raw``, ``/weight``, ``/weighted`` and ``/ratio`` for every loss key.
        """
        if not self._count:
            return {}
        stacked = torch.stack([value.float() for value in self._sums.values()]).div(self._count).tolist()
        means = dict(zip(self._sums, stacked))
        task = means.pop('task')
        for key in [key.removesuffix('/raw') for key in means if key.endswith('/raw')]:
            means[f'{key}/weight'] = weights[key.split('.')[1]]
            means[f'{key}/ratio'] = means[f'{key}/weighted'] / task if task else 0.0
        self._sums, self._count = {}, 0
        return means


def sentences(means: dict[str, float]) -> list[str]:
    """Render what :meth:`TermLog.take` gave, one line a term.

    >>> sentences(
    ...     {
    ...         'distill.a.loss_x/raw': 2.0,
    ...         'distill.a.loss_x/weight': 0.5,
    ...         'distill.a.loss_x/weighted': 1.0,
    ...         'distill.a.loss_x/ratio': 0.25,
    ...     }
    ... )
    ['distill.a.loss_x: raw 2.0000 x weight 0.5 = 1.0000 (25.0 % of the task loss)']
    """
    keys = [key.removesuffix('/raw') for key in means if key.endswith('/raw')]
    return [
        f'{key}: raw {means[f"{key}/raw"]:.4f} x weight {means[f"{key}/weight"]:.4g} = '
        f'{means[f"{key}/weighted"]:.4f} ({100 * means[f"{key}/ratio"]:.1f} % of the task loss)'
        for key in keys
    ]


def monitor_values(distillers: Mapping[str, BaseDistiller]) -> dict[str, float]:
    """Return what the distillers watched in the last batch, with one transfer to the host.

    Returns:
        ``distill.<name>/<monitor>`` to its value.
    """
    found = {
        f'distill.{name}/{monitor}': value.detach().float()
        for name, member in distillers.items()
        for monitor, value in member.monitors().items()
    }
    return dict(zip(found, torch.stack(list(found.values())).tolist())) if found else {}


def monitor_sentences(values: dict[str, float]) -> list[str]:
    """Render what :func:`monitor_values` gave, one line a distiller.

    >>> monitor_sentences({'distill.a/points': 80.0, 'distill.a/spread': 0.5833})
    ['distill.a: points 80, spread 0.5833']
    """
    shown: dict[str, list[str]] = {}
    for key, value in values.items():
        name, monitor = key.split('/')
        shown.setdefault(name, []).append(f'{monitor} {value:.4g}')
    return [f'{name}: {", ".join(listed)}' for name, listed in shown.items()]


def non_finite(raw: dict[str, Tensor]) -> list[str]:
    """Return the keys whose value is NaN or infinite, with one transfer to the host."""
    if not raw:
        return []
    flags = torch.stack([value.detach() for value in raw.values()]).isfinite().tolist()
    return [key for key, finite in zip(raw, flags) if not finite]


def image_names(batch: Any, limit: int = 8) -> str:
    """Name the images of a batch by path or id, for an error sentence."""
    samples = batch.data_samples or []
    names = []
    for sample in samples[:limit]:
        info = getattr(sample, 'metainfo', {})
        names.append(str(info.get('img_path') or info.get('img_id') or '?'))
    more = f' and {len(samples) - limit} more' if len(samples) > limit else ''
    return (', '.join(names) or 'unknown images') + more
