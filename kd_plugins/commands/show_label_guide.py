"""Draw which objects paint the instructive maps: ``kd_plugins show label-guide CONFIG [--checkpoint FILE]``.

The config has a LabelGuidedDistiller. For each level there is a row with the objects of a training image, the object
whose embedding has the largest share in each cell of the map, and the shares of all embeddings in what is painted for
each object. The checkpoint is one to resume from, which holds the instructor; without one, its weights are random.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from ..visualization.guide_figure import guide_figure
from .drawing import add_picture_options, draw


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins show label-guide', description='Draw which objects paint the instructive maps'
    )
    built.add_argument('config', help='config file with a LabelGuidedDistiller, or package::path')
    built.add_argument('--checkpoint', help='checkpoint to resume from, such as epoch_12.pth')
    built.add_argument('--index', type=int, default=0, help='which image of the training data')
    built.add_argument('--level', type=int, nargs='+', help='these levels alone, from 0')
    built.add_argument('--distiller', help='name of the distiller, where there are several')
    add_picture_options(built, 'label_guide.png')
    return built


def figure_of(config: Config, args: Namespace) -> Any:
    """Return the figure."""
    return guide_figure(config, args.checkpoint, args.index, args.level, args.distiller, args.device)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw; return the exit status."""
    return draw(parser(), figure_of, arguments)
