"""Make a detection data set of handwritten digits: ``python tools/dataset/make_digits.py OUT``.

OUT gets ``train/``, ``val/`` and ``annotations/{train,val}.json`` (COCO). Needs no network: the scans come with
scikit-learn. The same arguments give the same images, and what is already there is not made again.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from ..datasets.digits import make_split
from ..errors import KDPluginsError


def main() -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description='Compose handwritten digits into images with COCO annotations.')
    parser.add_argument('out', metavar='OUT', type=Path, help='folder of the data set')
    parser.add_argument('--num-train', type=int, default=400, help='training images (default: 400)')
    parser.add_argument('--num-val', type=int, default=150, help='validation images (default: 150)')
    parser.add_argument('--seed', type=int, default=0, help='seed of all images (default: 0)')
    parser.add_argument('--size', type=int, default=160, help='side of the images in pixels (default: 160)')
    args = parser.parse_args()
    for split, count in (('train', args.num_train), ('val', args.num_val)):
        start = time.monotonic()
        try:
            made = make_split(args.out, split, count, args.seed, args.size)
        except (KDPluginsError, OSError) as error:
            print(f'make_digits: {error}', file=sys.stderr)
            return 1
        where = args.out / 'annotations' / f'{split}.json'
        done = f'made in {time.monotonic() - start:.1f} s' if made else 'already there'
        print(f'{split}: {count} images, {done}; {where}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
