"""Draw the points that a local graph selects: ``kd_plugins show graph CONFIG CHECKPOINT IMAGE``.

CONFIG is a config with a LocalGraphDistiller. CHECKPOINT belongs to the network that teaches: that of the teacher's
own config where it has one (FrozenTeacher), the config's model otherwise. IMAGE is an image, or a LiDAR frame
(``.bin``) of the config's test set, which is then seen from above.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from functools import partial
from typing import Any

from mmengine.config import Config

from ..visualization.graph_figure import graph_figure
from .drawing import add_picture_options, check_top, draw


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins show graph',
        description='Draw the points that local graph distillation selects, and their neighbours',
    )
    built.add_argument('config', help='config file with a LocalGraphDistiller, or package::path')
    built.add_argument('checkpoint', help='checkpoint file of the network that teaches, or a URL')
    built.add_argument('image', help='image file, or a LiDAR frame (.bin) of the test set')
    built.add_argument('--distiller', help='name of the distiller in the config, where there are several')
    built.add_argument('--level', type=int, nargs='+', help='these levels alone, from 0')
    built.add_argument('--top', type=int, default=6, help="how many points' neighbours are drawn")
    add_picture_options(built, 'graph.png')
    return built


def figure_of(config: Config, args: Namespace) -> Any:
    """Return the figure."""
    return graph_figure(config, args.checkpoint, args.image, args.distiller, args.level, args.top, args.device)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw; return the exit status."""
    return draw(parser(), figure_of, arguments, partial(check_top, subject='the neighbours of {} points'))
