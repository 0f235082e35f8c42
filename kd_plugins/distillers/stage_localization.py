"""Distil where the edges of boxes lie, from the last stage of a network into its earlier ones."""

from __future__ import annotations

from itertools import accumulate as running_sums
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, check_known
from ..losses import edge_distribution_kl
from ..ops.reduction import weighted_mean
from ..registry import MODELS
from ..taps import match_modules
from ..utils.checks import check_number
from ..utils.head_types import ROI_ALTERNATIVE, is_a, lineage
from .base import BaseDistiller, Batch, Taps

ACTIVATIONS = ('sigmoid', 'softmax')


def check_count(key: str, value: int | None, minimum: int, advice: str) -> int | None:
    """Return ``value``.

    Raises:
        ConfigError: If it is neither None nor an integer of at least ``minimum``; the sentence ends with ``advice``.

    >>> check_count('distillers.x.bins', 17, 2, 'valid: 17')
    17
    """
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < minimum):
        raise ConfigError(f'{key} is {value!r}; {advice}')
    return value


def class_confidence(logits: Tensor, activation: str) -> Tensor:
    """Return the highest class probability, without gradient.

    Args:
        logits: (..., C); with ``'softmax'`` the last class is the background, as everywhere in MMDetection, and a
            network that is sure of the background is not sure of a box: it does not count.
        activation: ``'sigmoid'`` or ``'softmax'``.

    Returns:
        Shape (...).

    >>> class_confidence(torch.tensor([0.0, 0.0, 50.0]), 'sigmoid')
    tensor(1.)
    >>> class_confidence(torch.tensor([0.0, 0.0]), 'softmax')
    tensor(0.5000)
    """
    logits = logits.detach()
    if activation == 'sigmoid':
        return logits.amax(dim=-1).sigmoid()
    return logits.softmax(dim=-1)[..., :-1].amax(dim=-1)


def _rows(x: Tensor) -> Tensor:
    """Return (N, H * W, C) of a map (N, C, H, W)."""
    return x.flatten(2).transpose(1, 2)


@MODELS.register_module()
class StageLocalizationDistiller(BaseDistiller):
    """KL divergence of the edge distributions of earlier stages from those of the last stage of the same network.

    Source: localization distillation (arXiv 2102.12252, section 3.2) with D-FINE's choice of the teacher, the last
    decoder layer (arXiv 2410.13842, section 4.2). Locations count by the last stage's highest class probability.
    ``loss_stages`` is a mean over the earlier stages and a weighted mean over the locations of all ranks.

    Entry i of every stage must be the same location, query or proposal. The shapes are checked at every batch, and
    MMDetection's cascades are refused, which assign and sample their proposals anew in every stage; beyond that only
    you can know.

    Args:
        logits: Tap that gives the edge logits of all stages, the last stage last: one tensor (..., 4 * bins) or
            (..., 4, bins) per stage, edges in any order; with ``levels`` as below.
        scores: Tap that gives the last stage's class logits (..., C); of a layer that runs in every stage the last
            counts. None weighs all locations alike.
        bins: Logits per edge; None takes a quarter of the last dimension.
        levels: For convolutional heads: each stage gives this many maps (N, 4 * bins, H, W), and its scores as many
            (N, C, H, W), stage after stage.
        accumulate: Whether a stage gives what it adds to the logits of the stage before, as FDR heads do.
        activation: What makes probabilities of ``scores``: ``'sigmoid'``, or ``'softmax'`` with the background last.
        temperature: Softens both distributions.
        weight: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names = ('loss_stages',)

    def __init__(
        self,
        logits: str,
        scores: str | None = None,
        bins: int | None = None,
        levels: int | None = None,
        accumulate: bool = False,
        activation: str = 'sigmoid',
        temperature: float = 5.0,
        weight: float | dict[str, Any] = 1.0,
    ) -> None:
        # The network's own last stage teaches, also where the hook has a teacher for other distillers.
        super().__init__(weight, source='student')
        self.logits = logits
        self.scores = scores
        self.bins = check_count(f'{self.key}.bins', bins, 2, 'valid: None, or an integer of at least 2, such as 17')
        self.levels = check_count(f'{self.key}.levels', levels, 1, 'valid: None, or the number of maps of one stage')
        if not isinstance(accumulate, bool):
            raise ConfigError(f'{self.key}.accumulate is {accumulate!r}; valid: True, False')
        self.accumulate = accumulate
        self.activation = check_known(f'{self.key}.activation', activation, ACTIVATIONS)
        self.temperature = check_number(f'{self.key}.temperature', temperature, positive=True)

    def student_taps(self) -> dict[str, str]:
        """Return the tap of the edge logits of all stages."""
        return {'logits': self.logits}

    def teacher_taps(self) -> dict[str, str]:
        """Return the tap of the class logits, which say how much the last stage is to be believed."""
        return {} if self.scores is None else {'scores': self.scores}

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse what the shapes of a batch would not show."""
        key = f'{self.key}.logits'
        for name, _ in match_modules(student, self.logits, key):
            for parent in lineage(student, name):
                if is_a(parent, 'CascadeRoIHead') and not is_a(parent, 'SparseRoIHead'):
                    raise ConfigError(
                        f"{key}: '{name}' belongs to {type(parent).__name__}, which assigns and samples its proposals "
                        f'anew in every stage, so that entry i of two stages is not the same box; {ROI_ALTERNATIVE}'
                    )
                if is_a(parent, 'FDRBranches') and not self.accumulate:
                    raise ConfigError(
                        f"{self.key}.accumulate is False, and '{name}' gives what a decoder layer adds to the logits "
                        'of the layer before; set accumulate=True'
                    )

    def initialize(self, student: Taps, teacher: Taps) -> None:
        """Check stages, shapes and scores."""
        self._confidence(teacher, student, self._stages(student)[-1])

    def _check_shape(self, x: Tensor) -> None:
        key, found = f'{self.key}.logits', f"'{self.logits}' gives the shape {tuple(x.shape)}"
        if self.levels is not None and x.ndim != 4:
            raise ConfigError(
                f'{key}: {found}, and with levels={self.levels} it must be (N, 4 * bins, H, W); leave levels out where '
                'the logits are the last dimension'
            )
        size = x.shape[1] if self.levels is not None else x.shape[-1] if x.ndim else 0
        if self.bins is not None:
            if size == 4 * self.bins or self._is_split(x):
                return
            valid = '(..., 4, bins) or (..., 4 * bins)' if self.levels is None else '(N, 4 * bins, H, W)'
            hint = ', or set levels for maps (N, 4 * bins, H, W)' if self.levels is None and x.ndim == 4 else ''
            raise ConfigError(
                f'{key}: {found}, and with bins={self.bins} it must be {valid}, 4 * bins = {4 * self.bins}; '
                f'set bins to what the layer gives{hint}'
            )
        if self.levels is None and x.ndim == 4:
            raise ConfigError(
                f'{key}: {found}, which can mean several things; set levels for maps (N, 4 * bins, H, W), or bins for '
                '(N, Q, 4, bins)'
            )
        if size % 4:
            raise ConfigError(
                f'{key}: {found}, and {size} is not divisible by 4; tap the layer that gives 4 * bins logits, or set '
                'bins for (..., 4, bins)'
            )
        if size < 8:
            raise ConfigError(
                f'{key}: {found}, and {size} numbers are a box and no distributions over its edges; nearest: a head '
                "with distributions in every stage, such as 'kd_plugins.FDRDINOHead'"
            )

    def _is_split(self, x: Tensor) -> bool:
        return self.levels is None and self.bins is not None and x.shape[-2:] == (4, self.bins)

    def _edges(self, x: Tensor) -> Tensor:
        """Return (..., 4, bins) of one output; maps become (N, H * W, 4, bins)."""
        rows = _rows(x) if self.levels is not None else x
        return rows if self._is_split(rows) else rows.unflatten(-1, (4, rows.shape[-1] // 4))

    def _stages(self, student: Taps) -> list[Tensor]:
        """Return the distributions of every stage, (..., 4, bins), after checking their shapes."""
        key, outputs, levels = f"{self.key}.logits: '{self.logits}'", student['logits'], self.levels or 1
        if len(outputs) % levels:
            raise ConfigError(
                f'{key} gives {len(outputs)} outputs with levels={levels}; every stage must give that many'
            )
        if len(outputs) < 2 * levels:
            raise ConfigError(
                f'{key} gives one stage, which has none to teach; tap at least two, or give a '
                'LocalizationDistiller a teacher'
            )
        for index, output in enumerate(outputs):
            self._check_shape(output)
            last = outputs[index % levels - levels]
            if output.shape != last.shape:
                raise ConfigError(
                    f'{key} gives {tuple(output.shape)} in stage {index // levels} and {tuple(last.shape)} in the '
                    'last; all stages must describe the same locations in the same order'
                )
        edges = [self._edges(output) for output in outputs]
        if self.levels is not None:
            edges = [torch.cat(edges[start : start + levels], dim=1) for start in range(0, len(edges), levels)]
        return list(running_sums(edges)) if self.accumulate else edges

    def _confidence(self, teacher: Taps, student: Taps, last: Tensor) -> Tensor:
        """Return the weight of every location, (...), for distributions (..., 4, bins) of the last stage."""
        places = last.shape[:-2]
        if self.scores is None:
            return last.new_ones(places)
        key, found, levels = f"{self.key}.scores: '{self.scores}'", teacher['scores'], self.levels or 1
        if len(found) not in (levels, len(student['logits'])):
            raise ConfigError(
                f'{key} gives {len(found)} outputs; valid: {levels} of the last stage, or {len(student["logits"])} of '
                'all stages'
            )
        found, logits = found[-levels:], student['logits'][-levels:]
        if self.levels is None:
            fits = found[0].shape[:-1] == places
        else:
            fits = all(
                x.ndim == 4 and x.shape[:1] + x.shape[2:] == y.shape[:1] + y.shape[2:] for x, y in zip(found, logits)
            )
        if not fits:
            shapes = [', '.join(str(tuple(x.shape)) for x in tensors) for tensors in (found, logits)]
            raise ConfigError(
                f'{key} gives {shapes[0]} for edge logits {shapes[1]}; tap the class logits of the same locations'
            )
        scores = found[0] if self.levels is None else torch.cat([_rows(x) for x in found], dim=1)
        least = 1 if self.activation == 'sigmoid' else 2
        if scores.shape[-1] < least:
            raise ConfigError(
                f"{key} gives {scores.shape[-1]} classes; activation='{self.activation}' needs at least {least}"
            )
        return class_confidence(scores, self.activation)

    def forward(self, student: Taps, teacher: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_stages``."""
        *earlier, last = self._stages(student)
        weight = self._confidence(teacher, student, last)
        divergence = edge_distribution_kl(torch.stack(earlier), last, self.temperature)
        return {'loss_stages': weighted_mean(divergence.mean(dim=(0, -1)), weight)}
