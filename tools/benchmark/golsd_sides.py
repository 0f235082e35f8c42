"""Our D-FINE losses and those of transformers on the same predictions, for ``golsd_criterion.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from kd_plugins.errors import MissingDependencyError
from kd_plugins.losses import DDFLoss, FGLLoss
from kd_plugins.ops.boxes import to_corners
from kd_plugins.ops.edge_bins import weighting_function

IMAGE = (640, 640)  # height, width
REG_MAX = 32
DENOISING = 100  # denoising queries of an image, positive ones, before rounding


@dataclass
class Batch:
    """One batch; N images, D denoising and Q matching queries, L layers. Set 0 of scores and boxes is the initial."""

    scores: Tensor
    """Class logits, (L + 1, N, D + Q, C)."""
    boxes: Tensor
    """Normalised (cx, cy, w, h), (L + 1, N, D + Q, 4)."""
    logits: Tensor
    """Distributions, (L, N, D + Q, 4, bins)."""
    proposal_scores: Tensor
    """(N, Q, C)."""
    proposal_boxes: Tensor
    """(N, Q, 4)."""
    objects: Tensor
    """Normalised (cx, cy, w, h), (N, G, 4)."""
    labels: Tensor
    """(N, G)."""
    groups: int
    """Denoising groups."""

    @property
    def noise(self) -> int:
        """D."""
        return self.boxes.shape[2] - self.proposal_boxes.shape[1]


def make_batch(
    images: int, objects: int, layers: int, queries: int, classes: int, device: str = 'cpu', seed: int = 0
) -> Batch:
    """Draw predictions like those of a detector in training: layers agree mostly, and every object has near queries.

    Args:
        images: N.
        objects: G of every image, at least 1.
        layers: L.
        queries: Q.
        classes: C.
        device: Of all tensors.
        seed: Draws the same numbers on every device.
    """
    random = torch.Generator().manual_seed(seed)
    centers = torch.rand(images, objects, 2, generator=random) * 0.8 + 0.1
    sizes = torch.rand(images, objects, 2, generator=random) * 0.15 + 0.03
    truth = torch.cat([centers, sizes], dim=-1)
    labels = torch.randint(classes, (images, objects), generator=random)
    groups = max(DENOISING // objects, 1)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    # The further a query is from the first of its object, the less it knows of it; denoising queries come in groups of
    # near and far ones.
    places = torch.cat([torch.arange(2 * groups * objects), torch.arange(queries)])
    rounds = torch.cat([torch.arange(2 * groups * objects) // objects % 2, torch.arange(queries) // objects])
    spread = 0.15 * (1 + rounds.float())[:, None]

    def sets(number: int, which: slice) -> tuple[Tensor, Tensor]:
        owners, width = places[which] % objects, spread[which]
        base = noise(images, len(owners), 4)
        moved = base + 0.3 * noise(number, images, len(owners), 4)
        center = truth[:, owners, :2] + moved[..., :2] * width * truth[:, owners, 2:]
        size = truth[:, owners, 2:] * (moved[..., 2:] * width).clamp(-1.0, 1.0).exp()
        scores = noise(number, images, len(owners), classes) - 5.0
        known = (4.0 - rounds[which].float()).clamp(min=0).expand(number, images, -1)[..., None]
        scores = scores.scatter_add(-1, labels[:, owners].expand(number, -1, -1)[..., None], known)
        return scores, torch.cat([center.clamp(0.01, 0.99), size.clamp(0.005, 0.9)], dim=-1)

    scores, boxes = sets(layers + 1, slice(None))
    proposals = [part[0] for part in sets(1, slice(-queries, None))]
    logits = noise(layers, images, len(places), 4, REG_MAX + 1).cumsum(dim=0)
    tensors = dict(scores=scores, boxes=boxes, logits=logits, objects=truth, labels=labels)
    tensors |= dict(proposal_scores=proposals[0], proposal_boxes=proposals[1])
    return Batch(**{name: part.contiguous().to(device) for name, part in tensors.items()}, groups=groups)


def leaf(values: Tensor) -> Tensor:
    """Return a contiguous copy that collects its gradient."""
    return values.detach().clone(memory_format=torch.contiguous_format).requires_grad_()


@dataclass
class Side:
    """One implementation on one batch."""

    leaves: list[Tensor]
    """Scores, boxes, distributions, proposals' scores and boxes; the gradients end here."""
    losses: Callable[[], dict[str, Tensor]]

    def run(self) -> None:
        """Compute all losses and gradients."""
        for part in self.leaves:
            part.grad = None
        torch.stack(list(self.losses().values())).sum().backward()


def ours(batch: Batch, matching: str = 'union') -> Side:
    """Return our criterion on the batch, as the heads call it."""
    try:
        from mmdet.models.losses import GIoULoss, L1Loss
        from mmdet.models.task_modules.assigners import HungarianAssigner

        from kd_plugins.models.dfine import VFLLoss
        from kd_plugins.models.dfine.criterion import Criterion, Denoising, Predictions, Proposals
    except ImportError as error:
        raise MissingDependencyError(f'our criterion needs MMDetection: {error}') from error
    costs = [
        dict(type='mmdet.FocalLossCost', weight=2.0),
        dict(type='mmdet.BBoxL1Cost', weight=5.0, box_format='xywh'),
        dict(type='mmdet.IoUCost', iou_mode='giou', weight=2.0),
    ]
    parts = dict(
        num_classes=batch.scores.shape[-1],
        bins=weighting_function(REG_MAX).to(batch.boxes.device),
        reg_scale=4.0,
        match_costs=HungarianAssigner(costs).match_costs,
        loss_cls=VFLLoss(),
        loss_bbox=L1Loss(loss_weight=5.0),
        loss_iou=GIoULoss(loss_weight=2.0),
        loss_fgl=FGLLoss(),
        loss_ddf=DDFLoss(denoising_counts='own'),  # as in transformers, and not in the authors' release
        matching=matching,
    )
    pixels = batch.objects.new_tensor([IMAGE[1], IMAGE[0]] * 2)
    corners = to_corners(batch.objects) * pixels
    truths = [InstanceData(bboxes=box, labels=label) for box, label in zip(corners, batch.labels)]
    shapes = [IMAGE] * len(truths)
    leaves = [
        leaf(part) for part in (batch.scores, batch.boxes, batch.logits, batch.proposal_scores, batch.proposal_boxes)
    ]
    scores, boxes, logits = leaves[:3]

    def part(start: int, length: int) -> Predictions:
        rows = slice(start, start + length)
        return Predictions(
            scores[1:, :, rows], boxes[1:, :, rows], logits[:, :, rows], scores[0, :, rows], boxes[0, :, rows]
        )

    def losses() -> dict[str, Tensor]:
        matched = part(batch.noise, boxes.shape[2] - batch.noise)
        noised = Denoising(part(0, batch.noise), batch.groups)
        return Criterion(**parts)(matched, truths, shapes, Proposals(leaves[3], leaves[4], selected=True), noised)

    return Side(leaves, losses)


def theirs(batch: Batch, complete: bool = False) -> Side:
    """Return transformers' losses on the batch.

    Args:
        batch: The batch.
        complete: Whether ``DFineLoss`` gets every set in the right order; else ``DFineForObjectDetectionLoss`` gets
            what transformers' model hands it.
    """
    try:
        from transformers import DFineConfig
        from transformers.loss.loss_d_fine import DFineForObjectDetectionLoss, DFineLoss
    except ImportError as error:
        raise MissingDependencyError(f'the comparison needs transformers 5 or later: {error}') from error
    layers, device = len(batch.logits), batch.boxes.device
    settings: dict[str, Any] = dict(num_labels=batch.scores.shape[-1], decoder_layers=layers, max_num_bins=REG_MAX)
    config = DFineConfig(**settings)
    targets = [dict(class_labels=label, boxes=box) for label, box in zip(batch.labels, batch.objects)]
    count = batch.labels.shape[1]
    positive = torch.arange(batch.groups, device=device)[:, None] * 2 * count + torch.arange(count, device=device)
    meta = dict(
        dn_positive_idx=[positive.flatten()] * len(targets),
        dn_num_group=batch.groups,
        dn_num_split=[batch.noise, batch.boxes.shape[2] - batch.noise],
    )
    decoder = [leaf(part.transpose(0, 1)) for part in (batch.scores, batch.boxes, batch.logits.flatten(-2))]
    scores, boxes, logits = decoder
    leaves = [*decoder, leaf(batch.proposal_scores), leaf(batch.proposal_boxes)]
    references = batch.boxes[0, :, None].expand(-1, layers, -1, -1).contiguous()

    def called() -> dict[str, Tensor]:
        return DFineForObjectDetectionLoss(
            scores[:, -1],
            targets,
            device,
            boxes[:, -1],
            config,
            outputs_class=scores,
            outputs_coord=boxes,
            enc_topk_logits=leaves[3],
            enc_topk_bboxes=leaves[4],
            denoising_meta_values=meta,
            predicted_corners=logits,
            initial_reference_points=references,
        )[1]

    def every_set() -> dict[str, Tensor]:
        def of(rows: slice) -> list[dict[str, Tensor]]:
            outputs = [dict(logits=scores[:, i, rows], pred_boxes=boxes[:, i, rows]) for i in range(layers + 1)]
            for i, output in enumerate(outputs[1:]):
                output.update(pred_corners=logits[:, i, rows], ref_points=references[:, i, rows])
                output.update(teacher_corners=logits[:, -1, rows], teacher_logits=scores[:, -1, rows])
            return [*outputs[1:], outputs[0]]

        sets = of(slice(batch.noise, None))
        proposals = dict(logits=leaves[3], pred_boxes=leaves[4])
        outputs: dict[str, Any] = dict(sets[layers - 1])
        outputs.update(auxiliary_outputs=[*sets[: layers - 1], sets[layers], proposals])
        outputs.update(dn_auxiliary_outputs=of(slice(None, batch.noise)), denoising_meta_values=meta)
        return DFineLoss(config).to(device)(outputs, targets)

    return Side(leaves, every_set if complete else called)


def same_name(name: str, layers: int) -> str | None:
    """Return our name of a loss of ``DFineLoss`` on all sets, None where we have none.

    >>> same_name('loss_giou_aux_0', layers=3), same_name('loss_vfl_aux_2', layers=3), same_name('loss_fgl', layers=3)
    ('d0.loss_iou', 'init.loss_cls', 'loss_fgl')
    >>> same_name('loss_bbox_dn_3', layers=3), same_name('loss_ddf_dn_2', layers=3)
    ('init.dn_loss_bbox', None)
    """
    term, _, place = name.partition('_aux_')
    term, _, denoising = term.partition('_dn_')
    term = term.replace('vfl', 'cls').replace('giou', 'iou')
    last = layers - 1
    if denoising:
        term, place = f'dn_{term}', denoising
        prefixes = [*(f'd{layer}.' for layer in range(last)), '', 'init.']
    else:
        prefixes = [*(f'd{layer}.' for layer in range(last)), 'init.', 'enc_']
    prefix = prefixes[int(place)] if place else ''
    # The last layer teaches: its distance from itself is 0 there and absent here.
    return None if term.endswith('loss_ddf') and not prefix else prefix + term
