"""Losses of a DETR-like detector, with FDR and GO-LSD or without, computed for all layers at once.

Source: D-FINE (arXiv 2410.13842, section 4.2) and Peterande/D-FINE, ``src/zoo/dfine/dfine_criterion.py``. Shapes: S
prediction sets, L decoder layers, N images, Q queries, C classes, M pairs, ``K = N * Q``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from mmdet.models.losses import QualityFocalLoss
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...ops.boxes import aligned_iou, to_centers, to_corners
from ...ops.edge_bins import edge_targets
from ...ops.reduction import global_normalizer
from .matching.hungarian import Pairs, assign, matching_costs
from .matching.union import union
from .targets import FlatPairs, GroundTruth, denoising_pairs, flatten, ground_truth, to_device


class Predictions(NamedTuple):
    """Predictions of a head for the matching or for the denoising queries; the last three are those of FDR."""

    scores: Tensor
    """Class logits of the layers, (L, N, Q, C)."""
    boxes: Tensor
    """Normalised (cx, cy, w, h), (L, N, Q, 4)."""
    logits: Tensor | None = None
    """Edge distributions, (L, N, Q, 4, bins)."""
    initial_scores: Tensor | None = None
    """Class logits of the initial boxes, (N, Q, C)."""
    initial_boxes: Tensor | None = None
    """Normalised (cx, cy, w, h), (N, Q, 4)."""

    def single(self) -> Predictions:
        """Return the predictions in float32."""
        return Predictions(*(None if part is None else part.float() for part in self))  # type: ignore[arg-type]

    def queries(self, start: int, length: int) -> Predictions:
        """Return the predictions of ``length`` queries from number ``start`` on."""
        dims = (2, 2, 2, 1, 1)
        parts = (None if part is None else part.narrow(dim, start, length) for part, dim in zip(self, dims))
        return Predictions(*parts)  # type: ignore[arg-type]


class Proposals(NamedTuple):
    """P proposals of the encoder for each image."""

    scores: Tensor
    """Class logits, (N, P, C)."""
    boxes: Tensor
    """Normalised (cx, cy, w, h), (N, P, 4)."""
    selected: bool
    """Whether they became the queries, query ``q`` from proposal ``q``, as in DINO, so that they join the union. Else
    they are all proposals, their class 0 means any object, and they learn from their own matches, as in two-stage
    Deformable DETR."""


class Denoising(NamedTuple):
    """Denoising queries of MMDetection's ``CdnQueryGenerator``."""

    predictions: Predictions
    """Predictions of the denoising queries."""
    num_groups: int
    """Number of groups of denoising queries."""


def pick(values: Tensor, queries: Tensor) -> Tensor:
    """Return the rows of the matched queries.

    Args:
        values: (S, N, Q, ...).
        queries: Indices of queries in the batch, (S, M), or (1, M) if they are the same for all sets.

    Returns:
        (S, M, ...).
    """
    flat = values.flatten(1, 2)
    if queries.shape[0] == 1:
        return flat[:, queries[0]]
    return flat[torch.arange(len(flat), device=flat.device)[:, None], queries]


def spread(values: Tensor, like: Tensor, queries: Tensor) -> Tensor:
    """Return ``like`` with the matched queries' entries replaced; the inverse of :func:`pick`.

    Args:
        values: (S, M).
        like: (S, K).
        queries: Indices of queries in the batch, (S, M) or (1, M).
    """
    return like.scatter(1, queries.expand_as(values), values)


def quality(boxes: Tensor, corners: Tensor) -> Tensor:
    """Return the IoU of matched boxes with their objects, without gradient.

    Args:
        boxes: (cx, cy, w, h), (S, M, 4).
        corners: (x1, y1, x2, y2) of the objects, (S, M, 4) or (1, M, 4).

    Returns:
        (S, M).
    """
    # Normalised boxes can be small: a box of a thousandth of each side has an area of 1e-6.
    return aligned_iou(to_corners(boxes.detach()), corners, eps=1e-12)


def takes_quality(loss_cls: nn.Module) -> bool:
    """Return whether a classification loss takes ``(labels, qualities)`` and not labels only, as MMDetection does."""
    return isinstance(loss_cls, QualityFocalLoss)


def edge_counts(queries: Tensor, like: Tensor) -> tuple[float, float]:
    """Return the number of edges of matched queries and of other queries.

    Args:
        queries: Matched queries, (1, M), each once.
        like: A tensor of shape (N, Q).
    """
    matched = queries.shape[1]
    return 4.0 * matched, 4.0 * (like.numel() - matched)


@dataclass
class Criterion:
    """Matching and losses of one head.

    Args:
        num_classes: C.
        match_costs: Cost functions of the head's assigner.
        loss_cls: Classification loss: MMDetection's ``FocalLoss``, or a loss that takes ``(labels, qualities)``
            (``QualityFocalLoss``, ``VFLLoss``).
        loss_proposal_cls: Classification loss of the proposals; None takes ``loss_cls``.
        loss_bbox: Elementwise loss on normalised (cx, cy, w, h).
        loss_iou: Loss on corners in pixels.
        bins: Offsets from :func:`kd_plugins.ops.edge_bins.weighting_function`; None for a head without FDR.
        reg_scale: See :func:`kd_plugins.ops.edge_bins.weighting_function`.
        loss_fgl: ``FGLLoss``; None for a head without FDR.
        loss_ddf: ``DDFLoss``; None leaves the distillation out.
        matching: With ``'union'``, all sets regress to the union of their matches, with ``'own'``, each set to its own.
        keep_every_object: See :func:`kd_plugins.models.dfine.matching.union`.
    """

    num_classes: int
    match_costs: Sequence[Callable[..., Tensor]]
    loss_cls: nn.Module
    loss_bbox: nn.Module
    loss_iou: nn.Module
    bins: Tensor | None = None
    reg_scale: float = 4.0
    loss_fgl: nn.Module | None = None
    loss_ddf: nn.Module | None = None
    matching: str = 'union'
    keep_every_object: bool = True
    loss_proposal_cls: nn.Module | None = None

    def __call__(
        self,
        predictions: Predictions,
        truths: Sequence[InstanceData],
        img_shapes: Sequence[tuple[int, int]],
        proposals: Proposals | None = None,
        denoising: Denoising | None = None,
    ) -> dict[str, Tensor]:
        """Return the losses, each of shape (), with the same keys for any number of objects.

        Args:
            predictions: Predictions of the matching queries.
            truths: ``bboxes`` in pixels and ``labels`` of every image.
            img_shapes: Height and width of every image.
            proposals: Proposals of two-stage detectors.
            denoising: Denoising queries of detectors that have them.
        """
        # All losses are computed in float32, also for a network in half precision.
        predictions = predictions.single()
        truth = ground_truth(truths, img_shapes, predictions.boxes)
        joined, apart = (proposals, None) if proposals is not None and proposals.selected else (None, proposals)
        scores, boxes, names = self.sets(predictions, joined)
        layers, num_queries = len(predictions.scores), scores.shape[2]
        own, shared, proposed = self.match(scores, boxes, truths, img_shapes, layers - 1, apart)
        arrays = {
            'own': flatten(own, len(scores), num_queries, truth.numbers),
            'shared': flatten(shared, len(scores) if self.matching == 'own' else 1, num_queries, truth.numbers),
        }
        if denoising is not None:
            amount = denoising.predictions.boxes.shape[2]
            arrays['denoising'] = denoising_pairs(truth.numbers, amount, denoising.num_groups)
        totals = [float(truth.numbers.sum()), *(float(array.shape[-1]) for array in list(arrays.values())[1:])]
        normalizers = global_normalizer(scores.new_tensor(totals), minimum=1.0).unbind()
        if apart is not None:
            arrays['proposed'] = flatten(proposed, 1, apart.scores.shape[1], truth.numbers)
        pairs = dict(zip(arrays, to_device(list(arrays.values()), scores.device)))

        class_losses = self.classify(scores, boxes, pairs['own'], truth, normalizers[0], joined is not None)
        losses = dict(zip([name.format('loss_cls') for name in names], class_losses))
        for key, value in self.regress(boxes, pairs['shared'], truth, normalizers[1]).items():
            losses.update(zip([name.format(key) for name in names], value))
        in_layers = FlatPairs(*(part[:layers] for part in pairs['shared']))
        losses.update(self.localize(predictions, in_layers, truth, normalizers[1]))
        if apart is not None:
            losses.update(self.propose(apart, pairs['proposed'], truth, normalizers[0]))
        if denoising is not None:
            counts = edge_counts(in_layers.queries[-1:], predictions.boxes[0, ..., 0])
            losses.update(self.denoise(denoising.predictions, pairs['denoising'], truth, normalizers[2], counts))
        return losses

    def sets(self, predictions: Predictions, proposals: Proposals | None) -> tuple[Tensor, Tensor, list[str]]:
        """Return scores (S, N, Q, C), boxes (S, N, Q, 4) and name patterns of layers, initial boxes and proposals.

        Args:
            predictions: Predictions of L layers.
            proposals: Proposals that became the queries.
        """
        names = [*(f'd{layer}.{{}}' for layer in range(len(predictions.scores) - 1)), '{}']
        scores, boxes = [*predictions.scores], [*predictions.boxes]
        if predictions.initial_scores is not None and predictions.initial_boxes is not None:
            names.append('init.{}')
            scores.append(predictions.initial_scores)
            boxes.append(predictions.initial_boxes)
        if proposals is not None:
            names.append('enc_{}')
            scores.append(proposals.scores.float())
            boxes.append(proposals.boxes.float())
        return torch.stack(scores), torch.stack(boxes), names

    def match(
        self,
        scores: Tensor,
        boxes: Tensor,
        truths: Sequence[InstanceData],
        img_shapes: Sequence[tuple[int, int]],
        last: int,
        proposals: Proposals | None,
    ) -> tuple[Pairs, Pairs, Pairs]:
        """Match all sets, and return the pairs for classes, for boxes and of proposals that are no queries.

        Args:
            scores: (S, N, Q, C).
            boxes: (S, N, Q, 4).
            truths: See :meth:`__call__`.
            img_shapes: See :meth:`__call__`.
            last: Index of the set of the last decoder layer.
            proposals: Proposals that are matched apart from the sets.
        """
        groups = [matching_costs(scores, boxes, truths, img_shapes, self.match_costs)]
        if proposals is not None:
            any_object = [torch.zeros_like(truth.labels) for truth in truths]
            parts = proposals.scores[None], proposals.boxes[None]
            groups.append(matching_costs(*parts, truths, img_shapes, self.match_costs, labels=any_object))
        pairs = assign(*groups)
        of_sets = pairs.sets < len(scores)
        own, proposed = (Pairs(*(part[rows] for part in pairs)) for rows in (of_sets, ~of_sets))
        return own, own if self.matching == 'own' else union(own, last, self.keep_every_object), proposed

    def classify(
        self,
        scores: Tensor,
        boxes: Tensor,
        pairs: FlatPairs,
        truth: GroundTruth,
        normalizer: Tensor,
        last_proposes: bool = False,
    ) -> Tensor:
        """Return the classification loss of each set on its own one-to-one matches, (S,)."""
        labels = truth.labels[pairs.objects]
        if last_proposes and self.loss_proposal_cls is not None:
            parts = []
            for rows, loss in ((slice(None, -1), self.loss_cls), (slice(-1, None), self.loss_proposal_cls)):
                own = FlatPairs(*(part[rows] for part in pairs))
                parts.append(self._class_sums(loss, scores[rows], boxes[rows], own, labels[rows], truth))
            return torch.cat(parts) / normalizer
        return self._class_sums(self.loss_cls, scores, boxes, pairs, labels, truth) / normalizer

    def _class_sums(
        self, loss_cls: nn.Module, scores: Tensor, boxes: Tensor, pairs: FlatPairs, labels: Tensor, truth: GroundTruth
    ) -> Tensor:
        background = labels.new_full((len(scores), scores[0, ..., 0].numel()), self.num_classes)
        classes = spread(labels, background, pairs.queries)
        target: Tensor | tuple[Tensor, Tensor] = classes.flatten()
        if takes_quality(loss_cls):
            overlap = quality(pick(boxes, pairs.queries), truth.corners[pairs.objects])
            qualities = spread(overlap, torch.zeros_like(classes, dtype=overlap.dtype), pairs.queries)
            target = classes.flatten(), qualities.flatten()
        loss = loss_cls(scores.flatten(0, 2), target, reduction_override='none')
        return loss.reshape(*classes.shape, loss[0].numel() if len(loss) else 1).sum(dim=(1, 2))

    def propose(
        self, proposals: Proposals, pairs: FlatPairs, truth: GroundTruth, normalizer: Tensor
    ) -> dict[str, Tensor]:
        """Return the losses of all proposals, of which most do not become a query, on their own matches."""
        scores, boxes = proposals.scores.float()[None], proposals.boxes.float()[None]
        loss_cls = self.loss_cls if self.loss_proposal_cls is None else self.loss_proposal_cls
        any_object = torch.zeros_like(pairs.objects)
        losses = {'loss_cls': self._class_sums(loss_cls, scores, boxes, pairs, any_object, truth) / normalizer}
        losses |= self.regress(boxes, pairs, truth, normalizer)
        return {f'enc_{key}': value[0] for key, value in losses.items()}

    def regress(self, boxes: Tensor, pairs: FlatPairs, truth: GroundTruth, normalizer: Tensor) -> dict[str, Tensor]:
        """Return ``loss_bbox`` and ``loss_iou`` of each set, (S,)."""
        matched = pick(boxes, pairs.queries)
        corners = truth.corners[pairs.objects].expand_as(matched)
        scales = truth.scales[pairs.objects].expand_as(matched)
        if matched.shape[1] == 0:  # some of MMDetection's losses return a scalar for no boxes
            zero = matched.sum(dim=(1, 2))
            return {'loss_bbox': zero, 'loss_iou': zero}
        shape = matched.shape[:2]
        l1 = self.loss_bbox(matched.flatten(0, 1), to_centers(corners).flatten(0, 1), reduction_override='none')
        pixels = [(part * scales).flatten(0, 1) for part in (to_corners(matched), corners)]
        overlap = self.loss_iou(*pixels, reduction_override='none')
        return {
            'loss_bbox': l1.view(*shape, 4).sum(dim=(1, 2)) / normalizer,
            'loss_iou': overlap.view(shape).sum(dim=1) / normalizer,
        }

    def localize(
        self,
        predictions: Predictions,
        pairs: FlatPairs,
        truth: GroundTruth,
        normalizer: Tensor,
        counts: tuple[float, float] | None = None,
    ) -> dict[str, Tensor]:
        """Return ``loss_fgl`` of every layer and ``loss_ddf`` of every layer except the last, nothing without FDR."""
        if self.loss_fgl is None:
            return {}
        last = len(predictions.boxes) - 1
        overlap = quality(pick(predictions.boxes, pairs.queries), truth.corners[pairs.objects])
        fgl = self.fine_grained(predictions, pairs, truth, overlap, normalizer)
        losses = {f'd{layer}.loss_fgl': fgl[layer] for layer in range(last)} | {'loss_fgl': fgl[last]}
        if self.loss_ddf is not None:
            rows = slice(None, 1 if len(pairs.queries) == 1 else last)
            ddf = self.distil(predictions, pairs.queries[rows], overlap, counts)
            losses |= {f'd{layer}.loss_ddf': ddf[layer] for layer in range(last)}
        return losses

    def fine_grained(
        self, predictions: Predictions, pairs: FlatPairs, truth: GroundTruth, overlap: Tensor, normalizer: Tensor
    ) -> Tensor:
        """Return ``loss_fgl`` of every layer, (L,)."""
        assert self.loss_fgl is not None and self.bins is not None
        assert predictions.initial_boxes is not None and predictions.logits is not None
        reference = predictions.initial_boxes.detach()[None].expand(len(pairs.queries), -1, -1, -1)
        corners = truth.corners[pairs.objects]
        index, right = edge_targets(pick(reference, pairs.queries), corners, self.bins, self.reg_scale)
        if len(index) == 1:
            index, right = index[0], right[0]
        return self.loss_fgl(pick(predictions.logits, pairs.queries), index, right, overlap, normalizer)

    def distil(
        self, predictions: Predictions, queries: Tensor, overlap: Tensor, counts: tuple[float, float] | None
    ) -> Tensor:
        """Return ``loss_ddf`` of every layer except the last, which teaches, (L - 1,).

        Args:
            predictions: Predictions of L layers.
            queries: Matched queries, (1, M) or (L - 1, M).
            overlap: IoU of the matched boxes, (L, M).
            counts: See :func:`kd_plugins.losses.decoupled_distillation`.
        """
        assert self.loss_ddf is not None and predictions.logits is not None
        students, teacher = predictions.logits[:-1].flatten(1, 2), predictions.logits[-1].flatten(0, 1)
        confidence = predictions.scores[-1].detach().sigmoid().amax(dim=-1).flatten()
        confidence = confidence.expand(len(students), -1)
        weight = spread(overlap[:-1], confidence, queries)
        matched = spread(torch.ones_like(overlap[:-1]), torch.zeros_like(confidence), queries).bool()
        return self.loss_ddf(students, teacher, weight, matched, counts=counts)

    def denoise(
        self,
        predictions: Predictions,
        pairs: FlatPairs,
        truth: GroundTruth,
        normalizer: Tensor,
        counts: tuple[float, float],
    ) -> dict[str, Tensor]:
        """Return all losses of the denoising queries, which need no matching."""
        predictions = predictions.single()
        scores, boxes, names = self.sets(predictions, None)
        expanded = FlatPairs(*(part.expand(len(scores), -1) for part in pairs))
        class_losses = self.classify(scores, boxes, expanded, truth, normalizer)
        losses = dict(zip([name.format('dn_loss_cls') for name in names], class_losses))
        for key, value in self.regress(boxes, pairs, truth, normalizer).items():
            losses.update(zip([name.format(f'dn_{key}') for name in names], value))
        own = self.loss_ddf is None or self.loss_ddf.denoising_counts == 'own'
        local = self.localize(predictions, pairs, truth, normalizer, None if own else counts)
        return losses | {key.replace('loss_', 'dn_loss_'): value for key, value in local.items()}
