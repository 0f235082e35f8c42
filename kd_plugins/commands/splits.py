"""Arguments and output shared by the subcommands that make a data set of two splits."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

from ..utils.cli import SEED, whole_number


def add_split_options(parser: ArgumentParser, out: str, num_train: int, num_val: int) -> None:
    """Add ``OUT``, ``--num-train``, ``--num-val`` and ``--seed``.

    Args:
        parser: The parser.
        out: Default of the folder, the one that the shipped configs read.
        num_train: Default number of training samples.
        num_val: Default number of validation samples.
    """
    parser.add_argument(
        'out', metavar='OUT', type=Path, nargs='?', default=Path(out), help='folder of the data set (%(default)s)'
    )
    parser.add_argument(
        '--num-train',
        type=whole_number(1),
        default=num_train,
        metavar='N',
        help='training samples (default: %(default)s)',
    )
    parser.add_argument(
        '--num-val',
        type=whole_number(1),
        default=num_val,
        metavar='N',
        help='validation samples (default: %(default)s)',
    )
    parser.add_argument('--seed', type=SEED, default=0, help='seed of all samples (default: %(default)s)')


def make_splits(args: Namespace, make: Callable[[str, int], bool]) -> None:
    """Make the training and the validation split, and print how long each took.

    Args:
        args: Parsed options of :func:`add_split_options`.
        make: Makes a split of so many samples, and returns whether anything had to be made.
    """
    for split, count in (('train', args.num_train), ('val', args.num_val)):
        start = time.monotonic()
        done = f'made in {time.monotonic() - start:.1f} s' if make(split, count) else 'already there'
        print(f'{split}: {count} samples in {args.out / split}, {done}')
