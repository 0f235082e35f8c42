"""Localization distillation from the last stage of a network into its earlier stages."""

from __future__ import annotations

from itertools import accumulate as running_sums
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..losses import softmax_kl
from ..ops.reduction import weighted_mean
from ..registry import MODELS
from ..tap_paths import TapPath
from ..taps import match_modules
from ..utils.checks import check_choice, check_flag, check_integer, check_number
from ..utils.head_types import ROI_ALTERNATIVE, is_a, lineage
from .base import BaseDistiller, Batch, Taps
from .locations import counted_locations

ACTIVATIONS = ('sigmoid', 'softmax')


def class_confidence(logits: Tensor, activation: str) -> Tensor:
    """Return the highest class probability, without gradient.

    Args:
        logits: (..., C); with ``'softmax'`` the last class is the background, as everywhere in MMDetection. It is left
            out, since a high background probability is no confidence in a box.
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


def _rows(feature_map: Tensor) -> Tensor:
    """Return (N, H * W, C) of a map (N, C, H, W)."""
    return feature_map.flatten(2).transpose(1, 2)


@MODELS.register_module()
class StageLocalizationDistiller(BaseDistiller):
    """KL divergence of the edge distributions of earlier stages from those of the last stage of the same network.

    Source: localization distillation (arXiv 2102.12252, section 3.2) with D-FINE's choice of the teacher, the last
    decoder layer (arXiv 2410.13842, section 4.2). Locations are weighted by the last stage's highest class probability.
    ``loss_stages`` is a mean over the earlier stages and a weighted mean over the locations of all ranks. On maps,
    locations on the padding of an image have weight 0.

    Entry i of every stage must be the same location, query or proposal. The shapes are checked at every batch.
    MMDetection's cascades are refused, because they assign and sample new proposals in every stage. No further check is
    possible here: the tapped layers must be chosen accordingly.

    Args:
        logits: Tap of the edge logits of all stages, the last stage last: one tensor (..., 4 * bins) or (..., 4, bins)
            per stage, edges in any order; with ``levels`` as below.
        scores: Tap of the last stage's class logits (..., C). If the layer runs in every stage, its last output is
            used. None gives all locations the same weight.
        bins: Logits per edge; None takes a quarter of the last dimension.
        levels: For convolutional heads: each stage gives this many maps (N, 4 * bins, H, W), and as many maps of scores
            (N, C, H, W), stage after stage.
        accumulate: Whether the output of a stage is added to the logits of the stage before, as in FDR heads.
        activation: Turns ``scores`` into probabilities: ``'sigmoid'``, or ``'softmax'`` with the background last.
        temperature: Softens both distributions.
        weight, key: See :class:`BaseDistiller`.

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
        key: str = 'distillers.<name>',
    ) -> None:
        # The network's own last stage teaches, also where the hook has a teacher for other distillers.
        super().__init__(weight, 'student', key)
        self.logits = logits
        self.scores = scores
        if bins is not None:
            check_integer(f'{key}.bins', bins, 2, 'valid: None, or an integer of at least 2, such as 17')
        self.bins = bins
        if levels is not None:
            check_integer(f'{key}.levels', levels, 1, 'valid: None, or the number of maps of one stage')
        self.levels = levels
        self.accumulate = check_flag(f'{key}.accumulate', accumulate)
        self.activation = check_choice(f'{key}.activation', activation, ACTIVATIONS)
        self.temperature = check_number(f'{key}.temperature', temperature, positive=True)

    def student_taps(self) -> dict[str, str]:
        """Return the tap of the edge logits of all stages."""
        return {'logits': self.logits}

    def teacher_taps(self) -> dict[str, str]:
        """Return the tap of the class logits, which give the weights of the locations."""
        return {} if self.scores is None else {'scores': self.scores}

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse heads whose stages do not predict the same boxes, which the shapes of a batch would not show."""
        key = f'{self.key}.logits'
        for name, _ in match_modules(student, TapPath.parse(self.logits, key).module, key):
            for parent in lineage(student, name):
                if is_a(parent, 'CascadeRoIHead') and not is_a(parent, 'SparseRoIHead'):
                    raise ConfigError(
                        f"{key}: '{name}' belongs to {type(parent).__name__}, which assigns and samples new proposals "
                        f'in every stage, so that entry i of two stages is not the same box; {ROI_ALTERNATIVE}'
                    )
                if is_a(parent, 'FDRBranches') and not self.accumulate:
                    raise ConfigError(
                        f"{self.key}.accumulate is False, and the output of '{name}' is added to the logits of the "
                        'decoder layer before; set accumulate=True'
                    )

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Check stages, shapes and scores."""
        self._confidence(teacher_outputs, student_outputs, self._stages(student_outputs)[-1])

    def _check_shape(self, output: Tensor) -> None:
        subject = f"{self.key}.logits: '{self.logits}' gives the shape {tuple(output.shape)}"
        if self.levels is not None and output.ndim != 4:
            raise ConfigError(
                f'{subject}, and with levels={self.levels} it must be (N, 4 * bins, H, W); leave levels out where the '
                'logits are the last dimension'
            )
        size = output.shape[1] if self.levels is not None else output.shape[-1] if output.ndim else 0
        if self.bins is not None:
            if size == 4 * self.bins or self._is_split(output):
                return
            valid = '(..., 4, bins) or (..., 4 * bins)' if self.levels is None else '(N, 4 * bins, H, W)'
            hint = ', or set levels for maps (N, 4 * bins, H, W)' if self.levels is None and output.ndim == 4 else ''
            raise ConfigError(
                f'{subject}, and with bins={self.bins} it must be {valid}, 4 * bins = {4 * self.bins}; '
                f'set bins to the number of logits per edge{hint}'
            )
        if self.levels is None and output.ndim == 4:
            raise ConfigError(
                f'{subject}, which can mean several things; set levels for maps (N, 4 * bins, H, W), or bins for '
                '(N, Q, 4, bins)'
            )
        if size % 4:
            raise ConfigError(
                f'{subject}, and {size} is not divisible by 4; tap the layer that gives 4 * bins logits, or set bins '
                'for (..., 4, bins)'
            )
        if size < 8:
            raise ConfigError(
                f'{subject}, and {size} numbers are a box and not distributions over its edges; nearest: a head with '
                "distributions in every stage, such as 'kd_plugins.FDRDINOHead'"
            )

    def _is_split(self, output: Tensor) -> bool:
        return self.levels is None and self.bins is not None and output.shape[-2:] == (4, self.bins)

    def _edges(self, output: Tensor) -> Tensor:
        """Return (..., 4, bins) of one output; maps become (N, H * W, 4, bins)."""
        rows = _rows(output) if self.levels is not None else output
        return rows if self._is_split(rows) else rows.unflatten(-1, (4, rows.shape[-1] // 4))

    def _stages(self, student_outputs: Taps) -> list[Tensor]:
        """Return the distributions of every stage, (..., 4, bins), after checking their shapes."""
        key, outputs, levels = f"{self.key}.logits: '{self.logits}'", student_outputs['logits'], self.levels or 1
        if len(outputs) % levels:
            raise ConfigError(
                f'{key} gives {len(outputs)} outputs with levels={levels}; every stage must give that many'
            )
        if len(outputs) < 2 * levels:
            raise ConfigError(
                f'{key} gives one stage, which has no other stage to teach; tap at least two, or use '
                'LocalizationDistiller with a teacher'
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

    def _confidence(self, teacher_outputs: Taps, student_outputs: Taps, last: Tensor) -> Tensor:
        """Return the weight of every location, (...), for distributions (..., 4, bins) of the last stage."""
        locations = last.shape[:-2]
        if self.scores is None:
            return last.new_ones(locations)
        key, levels = f"{self.key}.scores: '{self.scores}'", self.levels or 1
        scores, logits = teacher_outputs['scores'], student_outputs['logits']
        if len(scores) not in (levels, len(logits)):
            raise ConfigError(
                f'{key} gives {len(scores)} outputs; valid: {levels} of the last stage, or {len(logits)} of all stages'
            )
        scores, logits = scores[-levels:], logits[-levels:]
        if self.levels is None:
            fits = scores[0].shape[:-1] == locations
        else:
            fits = all(
                x.ndim == 4 and x.shape[:1] + x.shape[2:] == y.shape[:1] + y.shape[2:] for x, y in zip(scores, logits)
            )
        if not fits:
            shapes = [', '.join(str(tuple(x.shape)) for x in tensors) for tensors in (scores, logits)]
            raise ConfigError(
                f'{key} gives {shapes[0]} for edge logits {shapes[1]}; tap the class logits of the same locations'
            )
        joined = scores[0] if self.levels is None else torch.cat([_rows(x) for x in scores], dim=1)
        fewest = 1 if self.activation == 'sigmoid' else 2
        if joined.shape[-1] < fewest:
            raise ConfigError(
                f"{key} gives {joined.shape[-1]} classes; activation='{self.activation}' needs at least {fewest}"
            )
        return class_confidence(joined, self.activation)

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_stages``."""
        *earlier, last = self._stages(student_outputs)
        weight = self._confidence(teacher_outputs, student_outputs, last)
        if self.levels is not None:
            _, on_images = counted_locations(student_outputs['logits'][-self.levels :], 1, batch, weight, None)
            weight = weight * on_images
        divergence = softmax_kl(torch.stack(earlier), last, self.temperature, dim=-1)
        return {'loss_stages': weighted_mean(divergence.mean(dim=(0, -1)), weight)}
