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
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from torch import Tensor

from kd_plugins.errors import ConfigError, KDPluginsError
from kd_plugins.utils.cli import note, one_sentence, parse
from kd_plugins.utils.tables import print_table
from tools.benchmark.golsd_sides import Batch, Side, make_batch, ours, same_name, theirs

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
