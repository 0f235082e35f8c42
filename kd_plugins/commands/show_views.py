"""Draw training images as teacher and student see them: ``kd_plugins show views CONFIG``.

The config's DistillHook has a ``student_view``. For each view there is a row for the teacher and a row for the student.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from ..errors import ConfigError
from ..utils.cli import add_cfg_options
from ..visualization.view_figure import view_figure
from .drawing import draw


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins show views', description='Draw training images as teacher and student see them'
    )
    built.add_argument('config', help='config file whose DistillHook has a student_view, or package::path')
    built.add_argument('--count', type=int, default=4, help='number of images of each view')
    built.add_argument('--seed', type=int, default=0, help='seed of the images and of the view')
    built.add_argument('--out', default='views.png', help='picture to write')
    add_cfg_options(built)
    return built


def check(args: Namespace) -> None:
    """Refuse a number of images that cannot be drawn.

    Raises:
        ConfigError: If it is not from 1 to 16.
    """
    if not 1 <= args.count <= 16:
        raise ConfigError(f'--count: {args.count} images cannot be drawn; valid: 1 to 16')


def figure_of(config: Config, args: Namespace) -> Any:
    """Return the figure."""
    return view_figure(config, args.count, args.seed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw; return the exit status."""
    return draw(parser(), figure_of, arguments, check)
