"""What the benchmarks of training steps have in common on their command line."""

from __future__ import annotations

import json
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
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


def main(parser: ArgumentParser, run: Callable[[Namespace], dict[str, Any]]) -> None:
    """Read the arguments, measure, and write the numbers to ``--out``.

    Args:
        parser: With the options of :func:`add_step_options`.
        run: Measures, prints, and returns what JSON can hold.
    """
    args = parse(parser)
    warnings.simplefilter('ignore')
    with one_sentence():
        if args.steps < 1 or args.warmup < 1:
            raise ConfigError(f'--steps is {args.steps} and --warmup {args.warmup}; both must be at least 1')
        numbers = run(args)
        if args.out:
            Path(args.out).parent.mkdir(parents=True, exist_ok=True)
            Path(args.out).write_text(json.dumps(numbers, indent=2) + '\n', encoding='utf-8')
