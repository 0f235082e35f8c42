"""What the benchmarks of training steps have in common on their command line."""

from __future__ import annotations

import json
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..utils.cli import add_cfg_options, one_sentence, parse


def add_step_options(parser: ArgumentParser, steps: int, warmup: int) -> None:
    """Add ``--steps``, ``--warmup``, ``--generated``, ``--out`` and ``--cfg-options``.

    Args:
        parser: The parser.
        steps: Default of the measured steps of each run.
        warmup: Default of those before.
    """
    parser.add_argument('--steps', type=int, default=steps, help='measured steps of each')
    parser.add_argument('--warmup', type=int, default=warmup, help='steps of each before measuring')
    parser.add_argument('--generated', action='store_true', help='use generated data even where the data set exists')
    parser.add_argument('--out', help='write the numbers to this JSON file')
    add_cfg_options(parser)


def check_steps(args: Namespace) -> None:
    """Refuse numbers of steps that measure nothing.

    Raises:
        ConfigError: If there is no step to measure or none to warm up.
    """
    if args.steps < 1 or args.warmup < 1:
        raise ConfigError(f'--steps is {args.steps} and --warmup {args.warmup}; both must be at least 1')


def main(
    parser: ArgumentParser,
    run: Callable[[Namespace], dict[str, Any]],
    arguments: Sequence[str] | None = None,
    check: Callable[[Namespace], None] = check_steps,
) -> int:
    """Read the arguments, measure, and write the numbers to ``--out``; return the exit status.

    Args:
        parser: Its options include ``--out``, and what ``check`` reads.
        run: Measures, prints, and returns what JSON can hold.
        arguments: Of the command line; by default those that Python was started with.
        check: Refuses arguments before anything is built.
    """
    args = parse(parser, arguments)
    warnings.simplefilter('ignore')
    with one_sentence():
        check(args)
        numbers = run(args)
        if args.out:
            Path(args.out).parent.mkdir(parents=True, exist_ok=True)
            Path(args.out).write_text(json.dumps(numbers, indent=2) + '\n', encoding='utf-8')
    return 0
