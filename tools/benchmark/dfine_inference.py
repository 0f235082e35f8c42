"""Compare the inference time of D-FINE: transformers, our fused model, and onnxruntime with our exported file.

All three have the same random weights and get the same images, and give the best pairs of query and class. Their runs
alternate, so that other work on the machine slows all alike; a ratio is the median over rounds, with its quartiles.
Memory is the peak of a process of its own, beyond what it has after the imports: weights, graph and activations.
    python tools/benchmark/dfine_inference.py --sizes n s --threads 1 2
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from kd_plugins.conversion.names import to_own, unify_transformers
from kd_plugins.deployment.graph import INPUTS, DetectorGraph
from kd_plugins.deployment.images import DIVISOR
from kd_plugins.deployment.onnx_file import export, session
from kd_plugins.errors import KDPluginsError, MissingDependencyError
from kd_plugins.models.reparameterization import switch_to_deploy
from kd_plugins.profiling import benchmark
from kd_plugins.profiling.benchmark import add_out, check_sizes
from kd_plugins.profiling.sides import in_turn, seconds
from kd_plugins.utils.tables import print_table
from tools.analysis.dfine_twins import SIZES, ours, randomize, smooth_images, theirs

SIDES = ('transformers', 'fused', 'onnxruntime')
TOLERANCE = 5e-2
"""Largest difference of the scores, best first. Random weights amplify rounding, most of all in L and X; in float64 the
detectors are equal, see ``tools/analysis/dfine_parity.py``."""
CALIBRATION = 320
"""Side of the images that give the batch norms their statistics."""
QUERIES = 300


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(description='Compare transformers, our fused D-FINE and onnxruntime')
    built.add_argument('--sizes', nargs='+', default=['n', 's'], choices=list(SIZES))
    built.add_argument('--side', type=int, default=640, help='height and width of the images, a multiple of 32')
    built.add_argument('--images', type=int, default=1, help='images in a batch')
    built.add_argument('--threads', type=int, nargs='+', default=[1, 2], help='CPU threads of all sides')
    built.add_argument('--repeats', type=int, default=9, help='measured runs of each side')
    add_out(built)
    return built


def weights(size: str) -> dict[str, Tensor]:
    """Return random weights under the names of transformers."""
    twin, images = theirs(size), smooth_images(CALIBRATION, CALIBRATION)
    randomize(twin, lambda: twin(pixel_values=images))
    return twin.state_dict()


def side_of(name: str, size: str, file: Path, images: Tensor, threads: int, state: Any = None) -> Callable[[], Tensor]:
    """Return a function that runs one side and returns the scores, best first, (N, K).

    Args:
        name: One of :data:`SIDES`.
        size: A key of ``SIZES``.
        file: The exported model.
        images: (N, 3, H, W).
        threads: CPU threads of onnxruntime.
        state: Weights under the names of transformers, None for those of the initialisation.
    """
    if name == 'transformers':
        twin = theirs(size)
        if state is not None:
            twin.load_state_dict(state)

        def run() -> Tensor:
            output = twin(pixel_values=images)
            return output.logits.sigmoid().flatten(1).topk(QUERIES, dim=1).values

        return run
    sizes = torch.tensor([[images.shape[3], images.shape[2]]] * len(images))
    if name == 'fused':
        graph = DetectorGraph(fused(size, state))
        return lambda: graph(images, sizes)[2]
    runtime, inputs = session(str(file), threads), dict(zip(INPUTS, (images.numpy(), sizes.numpy())))
    return lambda: torch.from_numpy(runtime.run(None, inputs)[2])


def fused(size: str, state: Any = None) -> Any:
    """Return our fused detector with weights under the names of transformers, None for those of the initialisation."""
    model = ours(size)
    if state is not None:
        model.load_state_dict(to_own(unify_transformers(state), 'transformers')[0])
    switch_to_deploy(model)
    return model


def status_bytes(field: str) -> int:
    """Return a number of ``/proc/self/status`` in bytes."""
    lines = Path('/proc/self/status').read_text(encoding='utf-8').splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f'{field}:'))


@torch.inference_mode()
def peak_memory(name: str, size: str, file: Path, side: int, count: int) -> int:
    """Return the peak memory in bytes of one side beyond that of this process; called in a process of its own."""
    for module in ('onnxruntime', 'transformers.models.d_fine.modeling_d_fine'):
        import_module(module)

    torch.set_num_threads(1)
    before = status_bytes('VmRSS')
    run = side_of(name, size, file, smooth_images(side, side, count=count), 1)
    Path('/proc/self/clear_refs').write_text('5', encoding='utf-8')  # building the model may have taken more
    run()
    run()
    return status_bytes('VmHWM') - before


def in_own_process(*arguments: Any) -> int | None:
    """Return :func:`peak_memory` of another process, None where the system does not report it."""
    if not os.access('/proc/self/clear_refs', os.W_OK):
        return None
    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:
        return pool.submit(peak_memory, *arguments).result()


@torch.inference_mode()
def compare(size: str, args: Namespace, file: Path) -> list[dict[str, Any]]:
    """Export the model, and return the seconds of each side for each number of threads.

    Raises:
        KDPluginsError: If a side gives other scores.
    """
    state = weights(size)
    images = smooth_images(args.side, args.side, seed=1, count=args.images)
    file.write_bytes(export(DetectorGraph(fused(size, state)), args.side, args.side))
    entries = []
    for threads in args.threads:
        torch.set_num_threads(threads)
        runs = {name: side_of(name, size, file, images, threads, state) for name in SIDES}
        scores = {name: run() for name, run in runs.items()}
        apart = {name: (scores[name] - scores[SIDES[0]]).abs().max().item() for name in SIDES[1:]}
        if not max(apart.values()) <= TOLERANCE:
            raise KDPluginsError(f'the sides give other scores than transformers: {apart}')
        times: dict[str, list[float]] = {name: [] for name in SIDES}
        for name, counts in in_turn(list(SIDES), args.repeats):
            taken = seconds(runs[name], 'cpu')
            if counts:
                times[name].append(taken)
        entries.append(dict(size=size, threads=threads, difference=max(apart.values()), seconds=times))
    return entries


def ratio(times: dict[str, list[float]], slow: str, fast: str) -> str:
    """Return the median and the quartiles of the ratios of one side to another, round by round.

    >>> ratio({'a': [2.0, 4.0, 6.0], 'b': [1.0, 1.0, 1.0]}, 'a', 'b')
    '4.00 (3.00 to 5.00)'
    """
    ratios = [one / other for one, other in zip(times[slow], times[fast])]
    if len(ratios) < 2:
        return f'{ratios[0]:.2f}'
    low, middle, high = statistics.quantiles(ratios, n=4, method='inclusive')
    return f'{middle:.2f} ({low:.2f} to {high:.2f})'


def print_times(entries: Sequence[dict[str, Any]], args: Namespace) -> None:
    """Print the times of each size and number of threads."""
    rows = [
        [
            entry['size'].upper(),
            str(entry['threads']),
            *(f'{1e3 * statistics.median(entry["seconds"][name]):.0f}' for name in SIDES),
            ratio(entry['seconds'], 'transformers', 'fused'),
            ratio(entry['seconds'], 'fused', 'onnxruntime'),
        ]
        for entry in entries
    ]
    print_table(
        f'Inference of D-FINE, {args.images} x {args.side} x {args.side}, median of {args.repeats} '
        f'(torch {torch.__version__}, CPU)',
        ['size', 'threads', *(f'{name} (ms)' for name in SIDES), 'transformers / fused', 'fused / onnxruntime'],
        rows,
    )
    sys.stdout.flush()


def run(args: Namespace) -> dict[str, Any]:
    """Measure all sizes and print.

    Raises:
        MissingDependencyError: If onnxruntime is not installed.
    """
    if find_spec('onnxruntime') is None:
        raise MissingDependencyError(
            "the package 'onnxruntime' (extra 'export') is not installed; kd_plugins doctor prints the command"
        )
    entries, memory = [], {}
    with TemporaryDirectory() as folder:
        files = {size: Path(folder) / f'{size}.onnx' for size in args.sizes}
        for size, file in files.items():
            entries += compare(size, args, file)
        print_times(entries, args)
        for size, file in files.items():
            memory[size] = {name: in_own_process(name, size, file, args.side, args.images) for name in SIDES}
    print_table(
        'Peak memory (MiB), one thread',
        ['size', *SIDES],
        [[size.upper(), *(mebibytes(sides[name]) for name in SIDES)] for size, sides in memory.items()],
    )
    print(f'\nThe scores differ by at most {max(entry["difference"] for entry in entries):.1e}.')
    settings = {key: value for key, value in vars(args).items() if key != 'out'}
    return dict(settings=settings, torch=torch.__version__, entries=entries, memory=memory)


def mebibytes(number: int | None) -> str:
    """Return a number of bytes as text.

    >>> mebibytes(3 << 20), mebibytes(None)
    ('3', 'unknown')
    """
    return 'unknown' if number is None else f'{number / 2**20:.0f}'


def check_arguments(args: Namespace) -> None:
    """Refuse numbers that make no measurement.

    Raises:
        ConfigError: Naming the argument.
    """
    check_sizes(args, ['images', 'threads', 'repeats'])
    check_sizes(args, ['side'], lowest=320, divisor=DIVISOR)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    os.environ.setdefault('HF_HUB_OFFLINE', '1')  # nothing is downloaded
    return benchmark.main(parser(), run, arguments, check_arguments)


if __name__ == '__main__':
    sys.exit(main())
