"""Draw the prediction of each level of a network: ``kd_plugins show levels CONFIG CHECKPOINT``.

The config has a DualSelfDistiller, and the checkpoint is one to resume from, which holds its heads. For an image, one
row for the output and one for each branch; for a volume, three slices of a window of the inferer's size.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from ..visualization.level_figure import level_figure
from .drawing import add_picture_options, draw


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins show levels', description='Draw the prediction of each level and the ground truth'
    )
    built.add_argument('config', help='config file with a DualSelfDistiller, or package::path')
    built.add_argument('checkpoint', help='checkpoint to resume from, such as epoch_20.pth')
    built.add_argument('--index', type=int, default=0, help="which sample of the config's data")
    built.add_argument('--split', choices=['test', 'val'], default='test', help='which data')
    built.add_argument('--distiller', help='name of the distiller, where there are several')
    add_picture_options(built, 'levels.png')
    return built


def figure_of(config: Config, args: Namespace) -> Any:
    """Return the figure."""
    return level_figure(config, args.checkpoint, f'{args.split}_dataloader', args.index, args.distiller, args.device)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw; return the exit status."""
    return draw(parser(), figure_of, arguments)
