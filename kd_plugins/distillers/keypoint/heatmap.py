"""Heatmap distillation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...losses import keypoint_kl
from ...registry import MODELS
from ...utils.checks import check_levels, check_number
from ...utils.head_types import is_a
from ..base import Batch, Taps
from ..joint_labels import HEATMAPS
from ..paired import TapPair
from ..regions import TAU
from .base import DISTANCE, KeypointDistiller, weighted, with_student_beta

BETA = 10.0
"""Factor on heatmaps whose peak is 1."""

PEAKS = {'MegviiHeatmap': 255.0}
"""Height of the target's peak for the codecs of MMPose in which it is not 1."""


def peaks_of(heatmaps: Tensor) -> Tensor:
    """Return the highest value of every heatmap.

    Args:
        heatmaps: Shape (N, K, H, W).

    Returns:
        Shape (N, K), 0 for heatmaps without pixels.

    >>> peaks_of(torch.tensor([[[[0.1, 0.7]]]]))
    tensor([[0.7000]])
    """
    pixels = heatmaps.flatten(2)
    return pixels.amax(dim=-1) if pixels.shape[-1] else pixels.sum(dim=-1)


@MODELS.register_module()
class HeatmapDistiller(KeypointDistiller):
    r"""KL divergence of every joint's distribution over the pixels of its heatmap.

    :math:`softmax(\beta h)` over all pixels turns a heatmap into a distribution; :func:`kd_plugins.losses.keypoint_kl`
    compares it with the teacher's. Heatmaps are trained by regression to a Gaussian of height 1, so without a factor
    the peak would weigh e and each of the thousands of empty pixels 1. With :math:`\beta = 10` and the usual Gaussian
    (sigma of 2 pixels at 64x48, 3 at 96x72), 96 % of the distribution lie under a peak of height 1, 79 % under one of
    0.8 and 28 % under one of 0.5. So position, shape and confidence count. :math:`\beta = 20` puts everything under
    any clear peak and loses its height; :math:`\beta = 5` leaves 72 % to the empty pixels.

    Args:
        heatmap: Tap of the heatmaps, (N, K, H, W): ``'head.final_layer'`` of ``HeatmapHead``,
            ``'head.multi_final_layers.*'`` of ``CPMHead``, ``'head.predict_layers.*'`` of ``MSPNHead``. Stages are
            paired in order and their divergences are summed, as their task losses are.
        teacher_heatmap: Tap of the teacher's heatmaps; None is the same path.
        beta: Factor on the heatmaps of both. None is 10, divided by the height of the peak that the head's codec makes
            (255 for ``MegviiHeatmap``, otherwise 1).
        visible_only: See :class:`~kd_plugins.distillers.keypoint.KeypointDistiller`.
        reduction: ``'task'`` is a mean over images, joints and pixels in units of the squared peak, like
            ``KeypointMSELoss``, and has gradients of its size; ``'mean'`` is a mean over images and joints.
        select: The joints that count, see :class:`~kd_plugins.distillers.keypoint.KeypointDistiller`. The score is the
            height of the peak of the teacher's last stage, relative to that of the codec.
        trust, tau, distance: See :class:`~kd_plugins.distillers.keypoint.KeypointDistiller`.
        weight, source, key: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    def __init__(
        self,
        heatmap: str = 'head.final_layer',
        teacher_heatmap: str | None = None,
        beta: float | None = None,
        visible_only: bool = False,
        reduction: str = 'task',
        select: dict[str, Any] | None = None,
        trust: str | None = None,
        tau: float = TAU,
        distance: float = DISTANCE,
        weight: float | dict[str, Any] = 1.0,
        source: str | list[str] = 'auto',
        key: str = 'distillers.<name>',
    ) -> None:
        pair = TapPair.of('heatmap', heatmap, 'teacher_heatmap', teacher_heatmap)
        super().__init__([pair], visible_only, reduction, weight, source, key, select, trust, tau, distance)
        self.beta = None if beta is None else check_number(f'{key}.beta', beta, positive=True)
        self.betas = (self.beta or BETA, self.beta or BETA)
        """Factors on the heatmaps of student and teacher, known after :meth:`check_models`."""
        self.peak, self.teacher_peak = 1.0, 1.0
        """Height of the peak in the training targets of student and teacher, known after :meth:`check_models`."""

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse a layer that would teach itself and heads with offset maps; read the height of the peaks."""
        super().check_models(student, teacher)
        heads = self.heads(student, teacher)
        for role, head in zip(('student', 'teacher'), heads):
            if head is not None and is_a(head.loss_module, 'CombinedTargetMSELoss'):
                raise ConfigError(
                    f'{self.key}.heatmap: {type(head).__name__} of the {role} gives two offset maps with every heatmap '
                    '(CombinedTargetMSELoss), which are not distributions; use FeatureDistiller'
                )
        self.peak, self.teacher_peak = (PEAKS.get(type(getattr(head, 'decoder', None)).__name__, 1.0) for head in heads)
        if self.beta is None:
            self.betas = (BETA / self.peak, BETA / self.teacher_peak)

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Check stages, keypoints and sizes."""
        pair, key = self.pairs[0], f'{self.key}.heatmap'
        student_stages, teacher_stages = pair.outputs(student_outputs, teacher_outputs)
        check_levels(key, student_stages, teacher_stages, 'heatmaps')
        for s, t in zip(student_stages, teacher_stages):
            if s.ndim != 4:
                raise ConfigError(
                    f"{key}: '{pair.student_path}' has shape {tuple(s.shape)}; it must be "
                    '(N, keypoints, H, W), as the last layer of a heatmap head gives it'
                )
            self.check_joints(pair, s.shape[1], t.shape[1])
            if s.shape[2:] != t.shape[2:]:
                raise ConfigError(
                    f'{key}: the heatmaps of the teacher are {t.shape[2]}x{t.shape[3]} and those of the student '
                    f'{s.shape[2]}x{s.shape[3]}; use a teacher with the same input_size and heatmap_size in its codec'
                )

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_kpt``."""
        student_stages, stages_of = student_outputs['heatmap'], self.pairs[0].taught(teacher_outputs)
        joint_weights = self.joint_weights(batch, student_stages[0])
        counted = None
        if self.regions.active:
            # The last stage is what a network predicts.
            last = torch.stack([stages[-1] for stages in stages_of]).mean(dim=0)
            joint_weights = self.right_weights(joint_weights, [last], HEATMAPS, batch)
            counted = self.counted(peaks_of(last) / self.teacher_peak, joint_weights)
        terms = []
        for s, *teachers in zip(student_stages, *stages_of):
            targets = [[with_student_beta(t, *self.betas).flatten(2)] for t in teachers]
            target, trust = self.target(targets, self.betas[0])
            weights = weighted(joint_weights, trust)
            divergence = keypoint_kl([s.flatten(2)], target, self.betas[0], weights, 'mean', counted)
            scale = self.peak**2 / max(s.shape[2:].numel(), 1) if self.reduction == 'task' else 1.0
            terms.append(divergence * scale)
        return {'loss_kpt': torch.stack(terms).sum()}
