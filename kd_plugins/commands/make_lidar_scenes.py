"""Make a LiDAR detection data set by casting rays: ``kd_plugins data lidar-scenes OUT``.

OUT gets ``train/*.bin``, ``val/*.bin`` (x, y, z, intensity in float32, like KITTI's) and ``train.json``, ``val.json``,
which MMDetection3D's ``KittiDataset`` reads. Needs no network. The same arguments give the same scenes, and what is
already there is not made again.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence

from ..datasets.lidar_scenes import make_split
from ..utils.cli import one_sentence, parse
from .splits import add_split_options, make_splits


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins data lidar-scenes', description='Cast rays into scenes of boxes, as a LiDAR would see them'
    )
    add_split_options(built, 'data/lidar_scenes', num_train=400, num_val=100)
    return built


def main(arguments: Sequence[str] | None = None) -> int:
    """Make both splits; return the exit status."""
    args = parse(parser(), arguments)
    with one_sentence():
        make_splits(args, lambda split, count: make_split(args.out, split, count, args.seed))
    return 0
