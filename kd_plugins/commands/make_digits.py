"""Make a detection data set of handwritten digits: ``kd_plugins data digits OUT``.

OUT gets ``train/``, ``val/``, ``annotations/{train,val}.json`` (COCO) and the same with one class for all digits,
``{train,val}_one-class.json``. Needs no network: the scans come with scikit-learn. The same arguments give the same
images, and what is already there is not made again.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence

from ..datasets.digits import make_split
from ..utils.cli import one_sentence, parse
from .splits import add_split_options, make_splits


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins data digits', description='Compose handwritten digits into images with COCO annotations'
    )
    add_split_options(built, 'data/digits', num_train=400, num_val=150)
    built.add_argument('--size', type=int, default=160, help='side of the images in pixels (default: %(default)s)')
    return built


def main(arguments: Sequence[str] | None = None) -> int:
    """Make both splits; return the exit status."""
    args = parse(parser(), arguments)
    with one_sentence():
        make_splits(args, lambda split, count: make_split(args.out, split, count, args.seed, args.size))
    return 0
