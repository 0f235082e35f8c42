"""Make a data set of axial hippocampus slices: ``kd_plugins data hippocampus-slices OUT``.

OUT gets ``train/``, ``val/``, ``test/``, boxes in ``annotations/{train,val,test}.json`` (COCO) and masks in
``masks/{train,val,test}/``, made from the volumes that ``kd_plugins data hippocampus`` fetches. The same volumes give
the same slices, and what is already there is not made again.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from ..datasets.hippocampus_slices import SIZES, make_split
from ..utils.cli import one_sentence, parse


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins data hippocampus-slices',
        description='Cut hippocampus volumes into slices with COCO boxes and masks',
    )
    built.add_argument(
        'out',
        metavar='OUT',
        type=Path,
        nargs='?',
        default=Path('data/hippocampus_slices'),
        help='folder of the data set (%(default)s)',
    )
    built.add_argument(
        '--volumes',
        metavar='FOLDER',
        type=Path,
        default=Path(os.environ.get('HIPPOCAMPUS_ROOT', 'data/hippocampus')),
        help="folder of the volumes (%(default)s; HIPPOCAMPUS_ROOT's value, where it is set)",
    )
    return built


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the three splits; return the exit status."""
    args = parse(parser(), arguments)
    with one_sentence():
        for split in SIZES:
            count = make_split(args.volumes, args.out, split)
            print(f'{split}: {"already there" if count is None else f"{count} slices"} in {args.out / split}')
    return 0
