"""Command line shared by the benchmarks of training steps."""

from __future__ import annotations

import json
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..utils.cli import add_cfg_options, one_sentence, parse
from ..utils.files import write_atomically


def add_out(parser: ArgumentParser) -> None:
    """Add ``--out``."""
    parser.add_argument('--out', help='write the numbers to this JSON file')


def add_side_options(parser: ArgumentParser, repeats: int) -> None:
    """Add ``--repeats``, ``--device``, ``--threads`` and ``--out``, for two implementations of one computation.

    Args:
        parser: The parser.
        repeats: Default number of measured runs of each side.
    """
    parser.add_argument('--repeats', type=int, default=repeats, help='measured runs of each side')
    parser.add_argument('--device', default='cpu', help="'cpu' or a CUDA device")
    parser.add_argument('--threads', type=int, default=1, help='CPU threads of both sides')
    add_out(parser)


def add_step_options(parser: ArgumentParser, steps: int, warmup: int) -> None:
    """Add ``--steps``, ``--warmup``, ``--generated``, ``--out`` and ``--cfg-options``.

    Args:
        parser: The parser.
        steps: Default number of measured steps of each run.
        warmup: Default number of steps before measuring.
    """
    parser.add_argument('--steps', type=int, default=steps, help='measured steps of each run')
    parser.add_argument('--warmup', type=int, default=warmup, help='steps of each run before measuring')
    parser.add_argument('--generated', action='store_true', help='use generated data even where the data set exists')
    add_out(parser)
    add_cfg_options(parser)


def check_steps(args: Namespace) -> None:
    """Refuse a run without measured steps or without warm-up steps.

    Raises:
        ConfigError: If ``--steps`` or ``--warmup`` is below 1.
    """
    if args.steps < 1 or args.warmup < 1:
        raise ConfigError(f'--steps is {args.steps} and --warmup {args.warmup}; both must be at least 1')


def check_sizes(args: Namespace, names: Iterable[str], lowest: int = 1, divisor: int = 1) -> None:
    """Refuse sizes below the lowest valid size, and those that a number does not divide.

    Args:
        args: Arguments of the command line.
        names: Names of arguments that are a size or a list of sizes.
        lowest: The lowest valid size, a multiple of ``divisor``.
        divisor: Number that divides every valid size.

    Raises:
        ConfigError: Naming the first argument that is not valid.
    """
    for name in names:
        value = getattr(args, name)
        for size in value if isinstance(value, list) else [value]:
            valid = max(lowest, (size + divisor // 2) // divisor * divisor)
            if size < lowest or size % divisor:
                raise ConfigError(f'--{name.replace("_", "-")} is {size}; nearest: {valid}')


def main(
    parser: ArgumentParser,
    run: Callable[[Namespace], dict[str, Any]],
    arguments: Sequence[str] | None = None,
    check: Callable[[Namespace], None] = check_steps,
) -> int:
    """Parse the arguments, run the benchmark, write its numbers to ``--out`` and return the exit status.

    Args:
        parser: A parser with ``--out`` and the options that ``check`` reads.
        run: Measures, prints a table and returns the numbers as values for JSON.
        arguments: The command line; ``None`` for that of this process.
        check: Refuses arguments before anything is built.
    """
    args = parse(parser, arguments)
    warnings.simplefilter('ignore')
    with one_sentence():
        check(args)
        numbers = run(args)
        if args.out:
            write_atomically(Path(args.out), f'{json.dumps(numbers, indent=2)}\n'.encode())
    return 0
