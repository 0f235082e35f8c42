"""Compare a training step of the native D-FINE with that of transformers: ``python tools/benchmark/dfine_training.py``.

Both sides get the same random weights, images and objects. A step is forward pass, losses with matching, and backward
pass, without an optimizer; the runs of both sides alternate, and a ratio is the median over pairs of consecutive runs.
``peak`` is what the tensors of a run take beyond weights and inputs, counted in a run of its own. The rows ``losses``
are forward and backward pass of the losses alone, on the same predictions (``golsd_sides.py``).

Both backbones train the norms, both have denoising queries with the same random numbers. Differences:

* Ours has every loss of the release. transformers has no union of matches, and its model hands its loss the layers one
  off: layer L - 1 has no class and box loss, the last layer no FGL, the last denoising layer no class and box loss.
  So ours computes more.
* The cross attention reads the maps with PyTorch's ``grid_sample`` on both sides, here on the CPU.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

from kd_plugins.conversion.names import to_own, unify_transformers
from kd_plugins.deployment.images import DIVISOR
from kd_plugins.ops.boxes import to_corners
from kd_plugins.profiling import benchmark
from kd_plugins.profiling.benchmark import add_out, check_sizes
from kd_plugins.profiling.memory import peak_beyond
from kd_plugins.profiling.sides import in_turn, relative_difference, seconds
from kd_plugins.utils.tables import print_table
from tools.analysis.dfine_twins import SIZES, raw_outputs, their_outputs
from tools.analysis.dfine_twins import ours as our_model
from tools.analysis.dfine_twins import theirs as their_model
from tools.benchmark import golsd_sides

CLOCKS = {'processor': time.process_time, 'wall': time.perf_counter}
LIMIT = 1e-3
"""Largest relative difference of the scores of all tokens in float32."""
Action = Callable[[], Any]


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(description="Compare a training step of our D-FINE with that of transformers'")
    built.add_argument('--sizes', nargs='+', default=['n', 's'], choices=list(SIZES))
    built.add_argument('--objects', type=int, nargs='+', default=[1, 20, 200], help='objects per image, losses alone')
    built.add_argument('--step-objects', type=int, default=20, help='objects per image in a step')
    built.add_argument('--images', type=int, default=2, help='images of a batch')
    built.add_argument('--side', type=int, default=320, help='side of the square images, a multiple of 32')
    built.add_argument('--repeats', type=int, default=3, help='measured runs of each side')
    built.add_argument('--threads', type=int, nargs='+', default=[1], help='numbers of CPU threads')
    built.add_argument('--clock', default='processor', choices=list(CLOCKS), help='time of the CPU, or elapsed time')
    built.add_argument('--losses-only', action='store_true', help='leave the steps out')
    add_out(built)
    return built


def twins(size: str, images: Tensor) -> tuple[nn.Module, nn.Module, float]:
    """Return our detector and transformers' with the same weights, in training mode, and how much their scores differ.

    Args:
        size: A key of ``SIZES``.
        images: Values in 0..1, (N, 3, height, width).
    """
    torch.manual_seed(0)
    other = their_model(size)
    # Transformers' model trains all of the backbone here, as ours then does in L and X.
    model = our_model(size, **{'backbone.frozen_stem': False, 'backbone.frozen_norm': False})
    state, unknown = to_own(unify_transformers(other.state_dict()), 'transformers')
    assert not unknown, unknown
    model.load_state_dict(state)
    with torch.no_grad():
        difference = relative_difference(raw_outputs(model, images)['scores'], their_outputs(other, images)['scores'])
    return model.train(), other.train(), difference


def steps(model: Any, other: nn.Module, images: Tensor, objects: int) -> dict[str, Action]:
    """Return forward, losses and backward of both sides on the same batch.

    Args:
        model: Our detector.
        other: Transformers' detector.
        images: Values in 0..1, (N, 3, height, width).
        objects: Number of objects of each image.
    """
    batch = golsd_sides.make_batch(len(images), objects, 2, 1, 80)
    height, width = images.shape[2:]
    samples = []
    for boxes, labels in zip(batch.objects, batch.labels):
        corners = to_corners(boxes) * boxes.new_tensor([width, height] * 2)
        sample = DetDataSample(gt_instances=InstanceData(bboxes=corners, labels=labels))
        sample.set_metainfo(dict(img_shape=(height, width), batch_input_shape=(height, width)))
        samples.append(sample)
    targets = [dict(class_labels=labels, boxes=boxes) for boxes, labels in zip(batch.objects, batch.labels)]

    def ours() -> None:
        model.zero_grad()
        torch.manual_seed(0)
        torch.stack(list(model.loss(images, samples).values())).sum().backward()

    def theirs() -> None:
        other.zero_grad()
        torch.manual_seed(0)
        other(pixel_values=images, labels=targets).loss.backward()

    return dict(ours=ours, theirs=theirs)


def losses(size: str, images: int, objects: int) -> tuple[dict[str, Action], list[Tensor]]:
    """Return forward and backward pass of the losses alone, and the tensors that exist before.

    Args:
        size: A key of ``SIZES``, for the number of decoder layers.
        images: Number of images.
        objects: Number of objects of each image.
    """
    batch = golsd_sides.make_batch(images, objects, SIZES[size][1]['decoder_layers'], 300, 80)
    sides = dict(ours=golsd_sides.ours(batch), theirs=golsd_sides.theirs(batch))
    held = [leaf for side in sides.values() for leaf in side.leaves]
    return {name: side.run for name, side in sides.items()}, held


def clear(held: list[Tensor]) -> None:
    """Drop the gradients, so that those of a measured run count."""
    for tensor in held:
        tensor.grad = None


def compare(actions: dict[str, Action], held: list[Tensor], args: Namespace) -> dict[str, Any]:
    """Return seconds and peak bytes of both sides.

    Args:
        actions: ``ours`` and ``theirs``.
        held: Tensors that exist before a run.
        args: Options.
    """
    numbers: dict[str, Any] = {name: [] for name in actions}
    for name, counts in in_turn(list(actions), args.repeats):
        taken = seconds(actions[name], 'cpu', CLOCKS[args.clock])
        if counts:
            numbers[name].append(taken)
    for name, action in actions.items():
        clear(held)
        numbers[f'{name}_bytes'] = peak_beyond(held, action, 'cpu')
    return numbers


def cells(numbers: dict[str, Any]) -> list[str]:
    """Return times in ms, ratio with its range, and peaks in MiB.

    >>> cells(dict(ours=[0.1, 0.1, 0.2], theirs=[0.2, 0.3, 0.2], ours_bytes=2**20, theirs_bytes=2**21))
    ['100', '200', '2.00 (1.00 to 3.00)', '1', '2']
    """
    ratios = [b / a for a, b in zip(numbers['ours'], numbers['theirs'])]
    times = [f'{1e3 * statistics.median(numbers[name]):.0f}' for name in ('ours', 'theirs')]
    spread = f'{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})'
    return [*times, spread, *(f'{numbers[f"{name}_bytes"] / 2**20:.0f}' for name in ('ours', 'theirs'))]


def run(args: Namespace) -> dict[str, Any]:
    """Measure all sizes and print."""
    images = torch.rand(args.images, 3, args.side, args.side, generator=torch.Generator().manual_seed(0))
    rows, results = [], []
    for size in args.sizes:
        difference = 0.0
        jobs: list[tuple[str, int, dict[str, Action], list[Tensor]]] = []
        if not args.losses_only:
            model, other, difference = twins(size, images)
            held = [*model.parameters(), *model.buffers(), *other.parameters(), *other.buffers(), images]
            jobs.append(('step', args.step_objects, steps(model, other, images, args.step_objects), held))
        jobs += [('losses', number, *losses(size, args.images, number)) for number in args.objects]
        assert difference < LIMIT, f'the scores of size {size} differ by {difference:.1e}'
        for threads in args.threads:
            torch.set_num_threads(threads)
            for what, number, actions, held in jobs:
                numbers = compare(actions, held, args)
                results.append(dict(size=size, what=what, objects=number, threads=threads, **numbers))
                rows.append([size.upper(), what, str(number), str(threads), *cells(numbers)])
    print_table(
        f'{args.images} images of {args.side} x {args.side}, forward and backward, median of {args.repeats}, '
        f'{args.clock} time',
        ['size', 'what', 'objects', 'threads', 'ours (ms)', 'transformers (ms)', 'transformers / ours',
         'ours, peak (MiB)', 'transformers, peak (MiB)'],
        rows,
    )  # fmt: skip
    return dict(settings={key: value for key, value in vars(args).items() if key != 'out'}, results=results)


def check(args: Namespace) -> None:
    """Refuse numbers that make no batch.

    Raises:
        ConfigError: Naming the argument.
    """
    check_sizes(args, ['objects', 'step_objects', 'images', 'repeats', 'threads'])
    # The two levels of N have 300 positions, as many as queries, from here on; transformers refuses fewer.
    check_sizes(args, ['side'], lowest=256, divisor=DIVISOR)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    os.environ.setdefault('HF_HUB_OFFLINE', '1')  # nothing is downloaded
    return benchmark.main(parser(), run, arguments, check)


if __name__ == '__main__':
    sys.exit(main())
