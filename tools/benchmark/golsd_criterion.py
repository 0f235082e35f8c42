"""Compare the time of our D-FINE losses with that of transformers: ``python tools/benchmark/golsd_criterion.py``.

Both sides get the same predictions of one decoder with two-stage proposals and contrastive denoising, and compute the
forward and backward pass of all losses, including the matching. Their runs alternate, so that other work on the
machine slows both alike, and the ratio is the median over pairs of consecutive runs. Each side has its own layout of
the tensors (layers first here, images first there).

Equal on both sides: the matching costs and weights, varifocal, L1 and GIoU loss of each set, FGL and DDF
(T = 5), and the denoising pairs. Differences:

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

import os
import statistics
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

import torch

from kd_plugins.errors import ConfigError, KDPluginsError
from kd_plugins.profiling import benchmark
from kd_plugins.profiling.benchmark import add_side_options, check_sizes
from kd_plugins.profiling.sides import bytes_free, in_turn, relative_difference, seconds
from kd_plugins.utils.cli import note
from kd_plugins.utils.tables import print_table
from tools.benchmark.golsd_sides import Batch, Side, make_batch, ours, same_name, theirs

TOLERANCE = 1e-3


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(description="Compare our D-FINE criterion with transformers', forward and backward")
    built.add_argument('--images', type=int, nargs='+', default=[2, 8, 32], help='images per batch')
    built.add_argument('--objects', type=int, nargs='+', default=[1, 10, 50, 200], help='objects per image')
    built.add_argument('--layers', type=int, default=3, help='decoder layers, at least 2')
    built.add_argument('--queries', type=int, default=300, help='matching queries per image')
    built.add_argument('--classes', type=int, default=80)
    built.add_argument('--complete', action='store_true', help='let transformers compute all terms that ours computes')
    add_side_options(built, repeats=5)
    return built


def check(args: Namespace) -> dict[str, Any]:
    """Compare losses and gradients where both sides compute the same.

    Raises:
        KDPluginsError: If they do not.
    """
    objects = min(10, args.queries)
    batch = make_batch(2, objects, args.layers, args.queries, args.classes, args.device)
    mine, other = ours(batch, matching='own'), theirs(batch, complete=True)
    ours_losses, wanted = mine.losses(), other.losses()
    pairs = {name: ours_name for name in wanted if (ours_name := same_name(name, args.layers)) is not None}
    lacking = set(pairs.values()) ^ set(ours_losses)
    if lacking:
        raise KDPluginsError(f'only one side computes {sorted(lacking)}')
    apart = {ours_name: relative_difference(ours_losses[ours_name], wanted[name]) for name, ours_name in pairs.items()}
    worst = max(apart, key=lambda name: apart[name])
    mine.run()
    other.run()
    gradients = []
    for number, (one, two) in enumerate(zip(mine.leaves, other.leaves)):
        assert one.grad is not None and two.grad is not None
        wanted_grad = two.grad.transpose(0, 1) if number < 3 else two.grad
        gradients.append(relative_difference(one.grad, wanted_grad.reshape(one.shape)))
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


def measure(sides: dict[str, Side], repeats: int, device: str) -> dict[str, list[float]]:
    """Return the seconds of each side, run in turn after one run that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for name, counts in in_turn(list(sides), repeats):
        taken = seconds(sides[name].run, device)
        if counts:
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
    """Refuse numbers that make no batch.

    Raises:
        ConfigError: Naming the argument.
    """
    check_sizes(args, ['images', 'objects', 'queries', 'classes', 'repeats', 'threads'])
    check_sizes(args, ['layers'], lowest=2)
    if max(args.objects) > args.queries:
        raise ConfigError(f'--objects is {max(args.objects)}, more than the queries; nearest: {args.queries}')


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    os.environ.setdefault('HF_HUB_OFFLINE', '1')  # nothing is downloaded
    return benchmark.main(parser(), run, arguments, check_arguments)


if __name__ == '__main__':
    sys.exit(main())
