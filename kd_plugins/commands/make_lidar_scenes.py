"""Make a LiDAR detection data set by casting rays: ``python tools/dataset/make_lidar_scenes.py OUT``.

OUT gets ``train/*.bin``, ``val/*.bin`` (x, y, z, intensity in float32, like KITTI's) and ``train.json``, ``val.json``,
which MMDetection3D's ``KittiDataset`` reads. Needs no network. The same arguments give the same scenes, and what is
already there is not made again.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from ..datasets.lidar_scenes import make_split
from ..errors import KDPluginsError


def main() -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description='Cast rays into scenes of boxes, as a LiDAR would see them.')
    parser.add_argument(
        'out', metavar='OUT', type=Path, nargs='?', default='demo_output/lidar_scenes', help='folder (%(default)s)'
    )
    parser.add_argument('--train', type=int, default=400, metavar='N', help='training scenes (default: 400)')
    parser.add_argument('--val', type=int, default=100, metavar='N', help='validation scenes (default: 100)')
    parser.add_argument('--seed', type=int, default=0, help='seed of all scenes (default: 0)')
    args = parser.parse_args()
    for split, count in (('train', args.train), ('val', args.val)):
        start = time.monotonic()
        try:
            made = make_split(args.out, split, count, args.seed)
        except (KDPluginsError, OSError) as error:
            print(f'make_lidar_scenes: {error}', file=sys.stderr)
            return 1
        done = f'made in {time.monotonic() - start:.1f} s' if made else 'already there'
        print(f'{split}: {count} scenes, {done}; {args.out / f"{split}.json"}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
