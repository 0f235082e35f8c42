"""Time the D-FINE losses of this package beside those of transformers: ``python tools/benchmark/golsd_criterion.py``.

Both sides get the same predictions of one decoder with two-stage proposals and contrastive denoising, and compute the
forward and backward pass of all losses, matching among them. They take turns, so that whatever else the machine does
meets both, and the ratio is the median over pairs of neighbours. The layout of the tensors is each side's own (layers
first here, images first there).

What is the same on both sides: the matching costs and weights, varifocal, L1 and GIoU loss of each set, FGL and DDF
(T = 5), and the denoising pairs. What differs:

* Ours (``matching='union'``, the default of the heads) matches L + 2 sets (decoder layers, initial boxes, proposals),
  and boxes and FGL of all of them learn from the union of the matches, more pairs than objects. transformers has no
  union: each set learns from its own match.
* transformers' ``DFineForObjectDetectionLoss`` computes fewer terms. Its model puts the initial scores and boxes before
  those of the L layers but not before the distributions, so the lists are zipped one off: layer L - 1 has no class and
  box loss, the distributions of a layer go with the boxes of the layer before, the last layer has no FGL, and the last
  denoising layer no class and box loss. ``--complete`` passes ``DFineLoss`` all sets in the right order instead, which
  is what the check before the table compares with (``matching='own'``).
* transformers refuses boxes of negative size; none are given here.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from kd_plugins.cli import note, one_sentence, parse
from kd_plugins.errors import ConfigError, KDPluginsError, MissingDependencyError
from kd_plugins.losses import DDFLoss, FGLLoss, VFLLoss, to_corners, weighting_function
from kd_plugins.tables import print_table

IMAGE = (640, 640)  # height, width
REG_MAX = 32
DENOISING = 100  # denoising queries of an image, positive ones, before rounding
TOLERANCE = 1e-3


def parser() -> ArgumentParser:
    """Return the parser."""
    found = ArgumentParser(description="Compare our D-FINE criterion with transformers', forward and backward")
    found.add_argument('--images', type=int, nargs='+', default=[2, 8, 32], help='images per batch')
    found.add_argument('--objects', type=int, nargs='+', default=[1, 10, 50, 200], help='objects per image')
    found.add_argument('--layers', type=int, default=3, help='decoder layers, at least 2')
    found.add_argument('--queries', type=int, default=300, help='matching queries per image')
    found.add_argument('--classes', type=int, default=80)
    found.add_argument('--repeats', type=int, default=5, help='measured runs of each side')
    found.add_argument('--complete', action='store_true', help='let transformers compute all terms that ours computes')
    found.add_argument('--device', default='cpu', help="'cpu' or a CUDA device")
    found.add_argument('--threads', type=int, default=1, help='CPU threads of both sides')
    found.add_argument('--out', help='write the numbers to this JSON file')
    return found


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
        loss_ddf=DDFLoss(),
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
        return Criterion(**parts)(
            matched, truths, shapes, Proposals(leaves[3], leaves[4], class_agnostic=False), noised
        )

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
            found = [dict(logits=scores[:, i, rows], pred_boxes=boxes[:, i, rows]) for i in range(layers + 1)]
            for i, output in enumerate(found[1:]):
                output.update(pred_corners=logits[:, i, rows], ref_points=references[:, i, rows])
                output.update(teacher_corners=logits[:, -1, rows], teacher_logits=scores[:, -1, rows])
            return [*found[1:], found[0]]

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


def difference(first: Tensor, second: Tensor) -> float:
    """Return the size of the difference relative to the size of ``second``."""
    first, second = first.detach(), second.detach()
    return float((first - second).norm() / second.norm().clamp(min=1e-12))


def check(args: Namespace) -> dict[str, Any]:
    """Compare losses and gradients where both sides compute the same.

    Raises:
        KDPluginsError: If they do not.
    """
    objects = min(10, args.queries)
    batch = make_batch(2, objects, args.layers, args.queries, args.classes, args.device)
    mine, other = ours(batch, matching='own'), theirs(batch, complete=True)
    found, wanted = mine.losses(), other.losses()
    pairs = {name: ours_name for name in wanted if (ours_name := same_name(name, args.layers)) is not None}
    lacking = set(pairs.values()) ^ set(found)
    if lacking:
        raise KDPluginsError(f'only one side computes {sorted(lacking)}')
    apart = {ours_name: difference(found[ours_name], wanted[name]) for name, ours_name in pairs.items()}
    worst = max(apart, key=lambda name: apart[name])
    mine.run()
    other.run()
    gradients = []
    for number, (one, two) in enumerate(zip(mine.leaves, other.leaves)):
        assert one.grad is not None and two.grad is not None
        wanted_grad = two.grad.transpose(0, 1) if number < 3 else two.grad
        gradients.append(difference(one.grad, wanted_grad.reshape(one.shape)))
    result = dict(losses=len(apart), worst=worst, loss=apart[worst], gradient=max(gradients))
    if not max(apart[worst], *gradients) < TOLERANCE:
        raise KDPluginsError(
            f'the two sides compute different things: {worst} differs by {apart[worst]:.1e}, '
            f'the gradients by {max(gradients):.1e}'
        )
    return result


def bytes_needed(batch: Batch, complete: bool) -> int:
    """Estimate the peak memory of transformers' side.

    It computes the GIoU of every matched box with every matched object of the batch and keeps 12 such matrices per set
    for the backward pass, and the matcher compares every query with every object of the batch.
    """
    layers = len(batch.logits)
    images, count = batch.labels.shape
    queries = images * batch.proposal_boxes.shape[1]
    pairs, noised = images * count, images * count * batch.groups
    sets, noised_sets = (layers + 2, layers + 1) if complete else (layers + 1, layers)
    kept = 12 * (sets * pairs**2 + noised_sets * noised**2)
    working = max(14 * noised**2, 10 * queries * pairs)
    return 4 * (kept + working + 8 * (batch.scores.numel() + batch.logits.numel()))


def bytes_free(device: str) -> int | None:
    """Return how much memory is free, None where the system does not say."""
    if torch.device(device).type == 'cuda':
        return torch.cuda.mem_get_info(torch.device(device))[0]
    try:
        lines = Path('/proc/meminfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith('MemAvailable')), None)


def seconds(side: Side, device: str) -> float:
    """Run one side once."""
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    side.run()
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def measure(sides: dict[str, Side], repeats: int, device: str) -> dict[str, list[float]]:
    """Return the seconds of each side, run in turn after one run that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for index in range(-1, repeats):
        # The order alternates: whoever goes second finds warmer caches.
        for name in list(sides) if index % 2 else list(sides)[::-1]:
            taken = seconds(sides[name], device)
            if index >= 0:
                times[name].append(taken)
    return times


def run(args: Namespace) -> dict[str, Any]:
    """Check, measure all sizes and print."""
    torch.set_num_threads(args.threads)
    agreement = check(args)
    rows, sizes = [], []
    for images in args.images:
        for objects in args.objects:
            batch = make_batch(images, objects, args.layers, args.queries, args.classes, args.device)
            needed, free = bytes_needed(batch, args.complete), bytes_free(args.device)
            sides = dict(ours=ours(batch))
            if free is None or needed < 0.9 * free:
                sides['theirs'] = theirs(batch, args.complete)
            else:
                note(
                    f"{images} images of {objects} objects: transformers' side would need about {needed / 2**30:.1f} "
                    f'GiB of the {free / 2**30:.1f} that are free, and is left out'
                )
            times = measure(sides, args.repeats, args.device)
            mine, other = times['ours'], times.get('theirs')
            ratio = statistics.median(b / a for a, b in zip(mine, other)) if other else None
            sizes.append(dict(images=images, objects=objects, ratio=ratio, needed_bytes=needed, **times))
            rows.append(
                [
                    str(images),
                    str(objects),
                    f'{1e3 * statistics.median(mine):.1f}',
                    f'{1e3 * statistics.median(other):.1f}' if other else 'does not fit',
                    f'{ratio:.2f}' if ratio else '',
                ]
            )
    print_table(
        f'Forward and backward of the D-FINE losses, {args.layers} layers, {args.queries} queries, {args.classes} '
        f'classes, median of {args.repeats} ({args.device}, threads: {args.threads})',
        ['images', 'objects per image', 'ours (ms)', 'transformers (ms)', 'transformers / ours'],
        rows,
    )
    print(
        f"\nWith matching='own', {agreement['losses']} losses of both sides agree within {agreement['loss']:.1e} "
        f'(relative, {agreement["worst"]}) and their gradients within {agreement["gradient"]:.1e}.'
    )
    settings = {key: value for key, value in vars(args).items() if key != 'out'}
    return dict(settings=settings, torch=torch.__version__, agreement=agreement, sizes=sizes)


def check_arguments(args: Namespace) -> None:
    """Refuse numbers that make no batch."""
    for key in ('images', 'objects', 'layers', 'queries', 'classes', 'repeats', 'threads'):
        value = getattr(args, key)
        low = 2 if key == 'layers' else 1
        found = min(value) if isinstance(value, list) else value
        if found < low:
            raise ConfigError(f'--{key} is {found}; nearest: {low}')
    if max(args.objects) > args.queries:
        raise ConfigError(f'--objects is {max(args.objects)}, more than the queries; nearest: {args.queries}')


def main() -> None:
    """Measure and print."""
    os.environ.setdefault('HF_HUB_OFFLINE', '1')  # nothing is downloaded
    args = parse(parser())
    with one_sentence():
        check_arguments(args)
        numbers = run(args)
        if args.out:
            Path(args.out).parent.mkdir(parents=True, exist_ok=True)
            Path(args.out).write_text(json.dumps(numbers, indent=2) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
