"""Predictions of two DETRs at the same queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..losses.cross_head import cross_class_loss
from ..losses.dense import dense_box_loss
from ..losses.query import query_edge_loss, query_kl_loss, query_l1_loss, query_softmax_loss
from ..ops.boxes import to_corners
from ..ops.edge_bins import EdgeBins, move_distributions
from ..registry import MODELS
from ..utils.argument_types import shown
from ..utils.checks import check_choice, check_flag, check_integer, check_number
from ..utils.head_types import is_a
from .base import BaseDistiller, Batch, Taps
from .query_points import Points, QueryForm, check_same_queries, random_boxes, uses_softmax, width_of

POINTS = ('specific', 'general')
LAYERS = ('all', 'last')
GENERAL = 300
_OUTPUTS = ('scores', 'boxes')
_EDGES = ('edges', 'initial', 'bins', 'reg_scale')


@MODELS.register_module()
class QueryDistiller(BaseDistiller):
    """Class scores and boxes of a DETR at the queries of its teacher and at random ones (KD-DETR).

    Source: arXiv 2211.08071. Two DETRs have different queries, so their predictions cannot be compared one by one.
    Here both networks decode the same queries, each with the output of its own encoder: the teacher's own queries
    (``'specific'``), and queries at random boxes, drawn in every step (``'general'``). Each layer of the student learns
    from the last layer of the teacher; a query weighs as much as the teacher's highest class probability there. The
    terms of all layers and of both kinds of queries are added. With :class:`~kd_plugins.teachers.EMATeacher` and
    ``points=('specific',)`` this is the prediction term of OD-DETR (arXiv 2406.05791).

    Two native D-FINEs may have different widths: each then takes its own encoder's token as the content of a query.
    Detectors with edge distributions compare these as well where ``edge_weight`` is above 0. The distributions of a
    network are relative to its own first boxes, so those of the teacher are moved to the first boxes and bins of the
    student (:func:`kd_plugins.ops.edge_bins.move_distributions`).

    Args:
        points: Queries at which both networks are compared: ``'specific'``, ``'general'``, or both.
        general: Number of random queries of each image.
        layers: Layers of the student that learn: ``'all'`` or ``'last'``.
        cls_weight: Factor inside ``loss_cls``: the quality focal loss of
            :func:`kd_plugins.losses.cross_class_loss` with beta 2, divided by the summed weights of the queries; for
            heads with softmax :func:`kd_plugins.losses.query_softmax_loss`.
        box_weight: Factor inside ``loss_bbox``, :func:`kd_plugins.losses.query_l1_loss`.
        iou_weight: Factor inside ``loss_iou``, :func:`kd_plugins.losses.dense_box_loss`.
        edge_weight: Factor inside ``loss_edges``, :func:`kd_plugins.losses.query_edge_loss`; 0 leaves the term out.
        reference: Take class term and random boxes as the code of KD-DETR does:
            :func:`kd_plugins.losses.query_kl_loss`, whose value grows with the number of images of a rank, and boxes
            near the centre of the image, the same for all images.
        weight: See :class:`BaseDistiller`.
        source: See :class:`BaseDistiller`. A teacher is required.
        key: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names: tuple[str, ...] = ('loss_cls', 'loss_bbox', 'loss_iou')
    compares_classes = True

    def __init__(
        self,
        points: Sequence[str] = POINTS,
        general: int = GENERAL,
        layers: str = 'all',
        cls_weight: float = 1.0,
        box_weight: float = 5.0,
        iou_weight: float = 2.0,
        edge_weight: float = 0.0,
        reference: bool = False,
        weight: float | dict[str, Any] = 1.0,
        source: str = 'auto',
        key: str = 'distillers.<name>',
    ) -> None:
        super().__init__(weight, source, key)
        if isinstance(points, str) or not isinstance(points, Sequence) or not 0 < len(points) == len(set(points)):
            raise ConfigError(f"{key}.points is {shown(points)}; valid: ('specific', 'general') or one of them")
        self.points = tuple(check_choice(f'{key}.points', one, POINTS) for one in points)
        self.general = check_integer(f'{key}.general', general, 1, 'valid: a number of queries, such as 300', 10**5)
        if 'general' not in self.points and general != GENERAL:
            raise ConfigError(
                f'{key}.general is {general} and {key}.points is {shown(points)}, so no random query is drawn; add '
                "'general' to points, or leave general out"
            )
        self.layers = check_choice(f'{key}.layers', layers, LAYERS)
        self.cls_weight = check_number(f'{key}.cls_weight', cls_weight, positive=False)
        self.box_weight = check_number(f'{key}.box_weight', box_weight, positive=False)
        self.iou_weight = check_number(f'{key}.iou_weight', iou_weight, positive=False)
        self.edge_weight = check_number(f'{key}.edge_weight', edge_weight, positive=False)
        if not any((cls_weight, box_weight, iou_weight, edge_weight)):
            raise ConfigError(
                f'{key}: cls_weight, box_weight and iou_weight are 0, so nothing is taught; use for example '
                'cls_weight=1.0'
            )
        if edge_weight:
            self.loss_names = (*self.loss_names, 'loss_edges')
        self.reference = check_flag(f'{key}.reference', reference)
        self.form: QueryForm | None = None
        self.softmax = False
        self.own_content = False

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Check that both networks are DETRs of one kind, width and classes."""
        self.form = check_same_queries(self.key, student, teacher)
        self.softmax = uses_softmax(student)
        self.own_content = width_of(student) != width_of(teacher)
        for role, model in (('student', student), ('teacher', teacher)):
            if self.edge_weight and not is_a(model.get_submodule('bbox_head'), 'FDRHead'):
                raise ConfigError(
                    f'{self.key}.edge_weight is {self.edge_weight}, and the {role} is {type(model).__name__}, which '
                    'predicts no distribution over box edges; use edge_weight=0.0, or DFINE, FDRDINO, '
                    'FDRDeformableDETR and FDRDABDETR on both sides'
                )
        if 'general' in self.points and not self.form.anchors:
            raise ConfigError(
                f"{self.key}.points holds 'general', and the queries of {type(student).__name__} are learned vectors "
                "without a place that could be drawn; use points=('specific',)"
            )

    def _form(self) -> QueryForm:
        assert self.form is not None
        return self.form

    def student_taps(self) -> dict[str, str]:
        """Return the taps of what the decoder reads, without the student's own queries."""
        return self._form().taps(own_queries=False)

    def teacher_taps(self) -> dict[str, str]:
        """Return the taps of what the decoder reads; the teacher's own pass ends before its decoder."""
        return self._form().taps(own_queries=True)

    def query(
        self, model: nn.Module, features: Any, student_outputs: Taps, teacher_outputs: Taps, batch: Batch
    ) -> Taps:
        """Return the queries of each kind, and what the last layer of the teacher predicts there."""
        form, head = self._form(), _head(model)
        own: Points = {name: teacher_outputs[name][0] for name in form.points}
        answers: dict[str, list[Tensor]] = {}
        for kind in self.points:
            points = own
            if kind == 'general':
                generator = torch.Generator(own['query'].device).manual_seed(batch.draw_seed(self.key, kind))
                boxes = random_boxes(len(own['query']), self.general, generator, self.reference)
                points = form.placed(model, own, boxes, teacher_outputs)
            decoded = form.decoded(model, teacher_outputs, points)
            answers.update({f'{kind}.{name}': [tensor] for name, tensor in points.items()})
            answers.update({f'{kind}.{name}': [tensor[-1]] for name, tensor in zip(_OUTPUTS, head(**decoded))})
            if self.edge_weight:
                refinement = decoded['refinement']
                edges = refinement.logits[-1].float().softmax(dim=-1), refinement.initial, head.fdr.bins
                scale = refinement.initial.new_full((), head.fdr.reg_scale)
                answers.update({f'{kind}.{name}': [part] for name, part in zip(_EDGES, (*edges, scale))})
        return answers

    def query_student(self, model: nn.Module, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> Taps:
        """Return what the layers of the student predict at the same queries, with gradient."""
        form, head = self._form(), _head(model)
        first = -1 if self.layers == 'last' else 0
        answers: dict[str, list[Tensor]] = {}
        for kind in self.points:
            points = {name: teacher_outputs[f'{kind}.{name}'][0] for name in form.points}
            if self.own_content:
                points['query'] = form.content_at(model, student_outputs, points['reference_points'])
            decoded = form.decoded(model, student_outputs, points)
            outputs = head(**decoded)
            answers.update({f'{kind}.{name}': [tensor[first:]] for name, tensor in zip(_OUTPUTS, outputs)})
            if self.edge_weight:
                fdr, refinement = head.fdr, decoded['refinement']
                taught = [teacher_outputs[f'{kind}.{name}'][0] for name in _EDGES]
                target = move_distributions(
                    taught[0], EdgeBins(*taught[1:]), EdgeBins(refinement.initial, fdr.bins, fdr.reg_scale)
                )
                answers.update({f'{kind}.logits': [refinement.logits[first:]], f'{kind}.target': [target]})
        return answers

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_cls``, ``loss_bbox`` and ``loss_iou``, each summed over layers and kinds of queries.

        With ``edge_weight`` there is ``loss_edges``, too.
        """
        terms = [
            self._terms(
                *(student_outputs[f'{kind}.{name}'][0] for name in _OUTPUTS),
                *(teacher_outputs[f'{kind}.{name}'][0] for name in _OUTPUTS),
                *(student_outputs[f'{kind}.{name}'][0] for name in ('logits', 'target') if self.edge_weight),
            )
            for kind in self.points
        ]
        factors = (self.cls_weight, self.box_weight, self.iou_weight, self.edge_weight)
        sums = torch.stack(terms).sum(dim=0).unbind()
        return {name: factor * value for name, factor, value in zip(self.loss_names, factors, sums)}

    def _terms(self, scores: Tensor, boxes: Tensor, target: Tensor, target_boxes: Tensor, *edges: Tensor) -> Tensor:
        """Return class, L1, GIoU and, where they are compared, edge term at one kind of queries, shape (3 or 4,).

        Args:
            scores: The student's logits (L, N, Q, C).
            boxes: Its boxes (L, N, Q, 4).
            target: The teacher's logits (N, Q, C).
            target_boxes: Its boxes (N, Q, 4).
            edges: The student's edge distributions (L, N, Q, 4, bins) as logits, and their targets (N, Q, 4, bins).
        """
        confidence = target.softmax(dim=-1)[..., :-1] if self.softmax else target.sigmoid()
        target, target_boxes = target.expand_as(scores), target_boxes.expand_as(boxes)
        weight = confidence.amax(dim=-1).expand(scores.shape[:-1])
        # The divisors, at least 1, hold the weights of one layer, so that the terms of the layers add up.
        layers = len(scores)
        share = weight / layers
        if self.reference:
            cls = query_kl_loss(scores, target, weight)
        elif self.softmax:
            cls = layers * query_softmax_loss(scores, target, share)
        else:
            cls = layers * cross_class_loss(scores, target, share, share.sum(), beta=2.0)
        l1 = query_l1_loss(boxes, target_boxes, share)
        iou = dense_box_loss(to_corners(boxes), to_corners(target_boxes), share)
        terms = [cls, layers * l1, layers * iou]
        if edges:
            logits, moved = edges
            terms.append(layers * query_edge_loss(logits, moved.expand_as(logits), share))
        return torch.stack(terms)


def _head(model: Any) -> Any:
    """Return the head of a detector."""
    return model.bbox_head
