"""Distil where joints lie, as distributions over the bins of each axis."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ...errors import ConfigError
from ...losses import keypoint_kl
from ...losses.keypoint import REDUCTIONS
from ...registry import MODELS
from ...utils.checks import check_number
from ..base import Batch, Taps
from .base import KeypointDistiller


@MODELS.register_module()
class SimCCDistiller(KeypointDistiller):
    """KL divergence of every joint's distribution along x and y (:func:`kd_plugins.losses.keypoint_kl`).

    Source: DWPose (arXiv 2307.15880), where invisible joints teach too: the teacher knows more than "not annotated".

    Args:
        x: Tap of the logits along x, (N, K, bins): ``'head.cls_x'`` of ``RTMCCHead`` and ``RTMWHead``,
            ``'head.mlp_head_x'`` of ``SimCCHead``.
        y: Tap of the logits along y.
        teacher_x: Tap of the one who teaches, where it differs.
        teacher_y: Tap of the one who teaches, where it differs.
        beta: Factor on the logits of both. ``None`` takes that of each head's own loss (``loss_module.beta``), so that
            the distributions are those which the heads were trained to give.
        visible_only: Whether joints count by the ``keypoint_weights`` of the data samples, as in the task loss.
        reduction: ``'task'`` keeps the ratio to the task loss in any batch and on any number of ranks; ``'mean'`` is a
            mean over images and joints; ``'reference'`` gives the released value.
        weight: See :class:`BaseDistiller`.
        source: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    def __init__(
        self,
        x: str = 'head.cls_x',
        y: str = 'head.cls_y',
        teacher_x: str | None = None,
        teacher_y: str | None = None,
        beta: float | None = None,
        visible_only: bool = False,
        reduction: str = 'task',
        weight: float | dict[str, Any] = 1.0,
        source: str = 'auto',
    ) -> None:
        taps = {'x': (x, teacher_x), 'y': (y, teacher_y)}
        super().__init__(taps, visible_only, reduction, REDUCTIONS, weight, source)
        self.beta = None if beta is None else check_number(f'{self.key}.beta', beta, positive=True)
        self.betas = (self.beta or 1.0, self.beta or 1.0)
        """Factors on the logits of student and teacher, known after :meth:`check_models`."""

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse a layer that would teach itself, and read the heads' own ``beta``."""
        super().check_models(student, teacher)
        if self.beta is not None:
            return
        ours, theirs = (
            getattr(getattr(head, 'loss_module', None), 'beta', None) for head in self.heads(student, teacher, 'x')
        )
        if ours is None:
            raise ConfigError(
                f"{self.key}.beta is None, and no module above '{self.paths['x'][0]}' has a loss_module with a beta, "
                'as KLDiscretLoss has; give the factor that the head applies to its logits, such as beta=10.0'
            )
        self.betas = (float(ours), float(ours if theirs is None else theirs))

    def initialize(self, student: Taps, teacher: Taps) -> None:
        """Check keypoints and bins."""
        for name, (path, other) in self.paths.items():
            ours, theirs = self.pairs(name, student, teacher)
            for role, place, found in (('student', path, ours), ('teacher', other, theirs)):
                if len(found) != 1 or found[0].ndim != 3:
                    shapes = [tuple(tensor.shape) for tensor in found]
                    raise ConfigError(
                        f"{self.key}.{name}: '{place}' of the {role} gives shapes {shapes}; it must give one tensor "
                        '(N, keypoints, bins), as the last layer of a SimCC head does'
                    )
            (_, joints, bins), (_, teacher_joints, teacher_bins) = ours[0].shape, theirs[0].shape
            self.check_joints(name, joints, teacher_joints)
            if bins != teacher_bins:
                raise ConfigError(
                    f'{self.key}.{name}: the teacher predicts {teacher_bins} bins where the student predicts {bins}; '
                    'use a teacher with the same input_size and simcc_split_ratio in its codec'
                )

    def forward(self, student: Taps, teacher: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_kpt``."""
        beta, teacher_beta = self.betas
        pairs = [self.pairs(name, student, teacher) for name in self.paths]
        ours = [own[0] for own, _ in pairs]
        theirs = [other[0] if teacher_beta == beta else other[0] * (teacher_beta / beta) for _, other in pairs]
        return {'loss_kpt': keypoint_kl(ours, theirs, beta, self.joint_weights(batch, ours[0]), self.reduction)}
