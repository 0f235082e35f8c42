"""Box distillation: decoded boxes of dense heads, location by location."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..errors import ConfigError
from ..losses import dense_box_loss
from ..registry import MODELS
from ..taps import module_at
from ..utils.checks import check_levels, check_same_size
from .base import BaseDistiller, Batch, Taps
from .box_heads import BoxDecoder, check_same_cells
from .locations import inside_images, location_rows
from .regions import Regions


@MODELS.register_module()
class BoxDistiller(BaseDistiller):
    """Distance of the boxes that the dense heads of student and teacher predict at the same location.

    For heads that predict a box and no distribution over its edges: FCOS, ATSS, RetinaNet, RTMDet, YOLOX; GFL works as
    well. Each network's boxes are decoded by its own head's priors and coder, so the heads may differ. The loss is
    :func:`kd_plugins.losses.dense_box_loss`, 1 - GIoU weighted by ``trust``; it needs no labels, except for
    ``trust='truth'``.

    Args:
        head: Dotted path of the head, the same in student and teacher.
        boxes: Tap of the layer that predicts boxes, one map per level, in both networks; None is the layer that the
            class of each head has.
        scores: Tap of the class logits, likewise.
        select: The locations to learn from, by the teacher's highest probability: ``dict(ratio=0.01)``, the highest of
            the batch, or ``dict(score=0.1)``, all from there. None: all locations.
        trust: Weight of a location: ``'teacher'``, the teacher's highest class probability; ``'difference'``, the
            largest difference of a probability; ``'truth'``, as ``'teacher'`` where its class is that of the label. The
            probabilities of heads with objectness (YOLOX, some RTMDet) include it.
        weight: See :class:`BaseDistiller`.
        source: See :class:`BaseDistiller`. A teacher is required, since a network's own boxes teach it nothing.
        key: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names = ('loss_box',)

    def __init__(
        self,
        head: str = 'bbox_head',
        boxes: str | None = None,
        scores: str | None = None,
        select: dict[str, Any] | None = None,
        trust: str = 'teacher',
        weight: float | dict[str, Any] = 1.0,
        source: str = 'auto',
        key: str = 'distillers.<name>',
    ) -> None:
        super().__init__(weight, source, key)
        self.head = head
        self.boxes = boxes
        self.scores = scores
        self.regions = Regions(key, select, trust)
        self.compares_classes = trust != 'teacher'
        self.decoders: dict[str, BoxDecoder] = {}
        """Decoders of student and teacher."""

    def _taps(self, role: str, scores: bool) -> dict[str, str]:
        layers = self.decoders[role].layers
        taps = {'boxes': self.boxes or f'{self.head}.{layers.boxes}'}
        if scores:
            taps['scores'] = self.scores or f'{self.head}.{layers.scores}'
            if layers.objectness:
                taps['objectness'] = f'{self.head}.{layers.objectness}'
        return taps

    @property
    def needs_labels(self) -> str | None:
        """Return the trust in labels."""
        return self.regions.needs_labels

    def student_taps(self) -> dict[str, str]:
        """Return the tap of the boxes, and those of the class logits where they are compared."""
        return self._taps('student', self.regions.needs_student)

    def teacher_taps(self) -> dict[str, str]:
        """Return the taps of the boxes and of the class logits."""
        return self._taps('teacher', True)

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Read the decoders of both heads."""
        for role, model in (('student', student), ('teacher', teacher)):
            head = module_at(model, self.head, f'{self.key}.head', role)
            self.decoders[role] = BoxDecoder.of(head, f"{self.key}.head: '{self.head}' of the {role}")
        if teacher is student:
            raise ConfigError(
                f"{self.key}: a network's own boxes teach it nothing; give a teacher, "
                "for example teacher=dict(type='kd_plugins.EMATeacher')"
            )
        check_same_cells(self.key, self.head, self.decoders['student'], self.decoders['teacher'])

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Check levels, channels and sizes."""
        key, boxes, teacher_boxes = f'{self.key}.boxes', student_outputs['boxes'], teacher_outputs['boxes']
        check_levels(key, boxes, teacher_boxes, 'levels')
        for role, levels in (('student', boxes), ('teacher', teacher_boxes)):
            decoder, path = self.decoders[role], self._taps(role, False)['boxes']
            if len(levels) != len(decoder.grids):
                raise ConfigError(
                    f"{key}: '{path}' gives {len(levels)} levels and the head has {len(decoder.grids)} strides; "
                    'tap a layer that runs once per level'
                )
            for level in levels:
                if level.ndim != 4 or not decoder.fits(level.shape[1]):
                    raise ConfigError(
                        f"{key}: '{path}' of the {role} has shape {tuple(level.shape)}; it must be "
                        f'(N, {decoder.anchors} * 4, H, W), or (N, 4 * bins, H, W) for a head with distributions'
                    )
        self._check_cells(key, boxes, teacher_boxes, 'both must predict at the same locations')
        scores = teacher_outputs['scores']
        self._check_cells(f'{self.key}.scores', teacher_boxes, scores, 'class logits belong to the same locations')
        if self.regions.needs_student:
            check_levels(f'{self.key}.scores', student_outputs['scores'], scores, 'levels')
            check_same_size(
                f'{self.key}.scores', student_outputs['scores'], scores, 'both must predict the same classes'
            )

    def _check_cells(self, key: str, first: Any, second: Any, advice: str) -> None:
        check_levels(key, first, second, 'levels')
        # One channel of each, since only the channels may differ.
        one, other = ([level[:, 0] for level in levels] for levels in (first, second))
        check_same_size(key, one, other, advice)

    def probabilities(self, role: str, outputs: Taps) -> Tensor:
        """Return the class probabilities of all locations, without gradient, shape (N, L, C).

        Args:
            role: ``'student'`` or ``'teacher'``.
            outputs: Outputs of its taps.
        """
        anchors = self.decoders[role].anchors
        scores = location_rows(outputs['scores'], anchors=anchors).detach().sigmoid()
        if 'objectness' in outputs:
            objectness = location_rows(outputs['objectness'], anchors=anchors).detach().sigmoid()
            scores = (scores * objectness) ** self.decoders[role].layers.exponent
        return scores

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_box``."""
        teacher = self.probabilities('teacher', teacher_outputs)
        student = self.probabilities('student', student_outputs) if self.regions.needs_student else None
        centers = self.decoders['teacher'].centers(teacher_outputs['boxes'])
        valid = inside_images(batch, centers, len(teacher))
        weight = self.regions.box_weights(teacher, student, centers, valid, batch)
        boxes, teacher_boxes = (
            self.decoders[role](outputs['boxes'])
            for role, outputs in (('student', student_outputs), ('teacher', teacher_outputs))
        )
        return {'loss_box': dense_box_loss(boxes, teacher_boxes, weight)}

    def monitors(self) -> dict[str, Tensor]:
        """Return ``selected``, the share of the locations that the last batch selected, where there is a selection."""
        return self.regions.shares
