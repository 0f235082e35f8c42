"""Draw training images as teacher and student see them: ``kd_plugins show views CONFIG``.

The config's DistillHook has a ``student_view``. For each view there is a row for the teacher and a row for the student.
With ``--checkpoint``, a further row shows the highest class probability of that network at each pixel.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from ..errors import ConfigError
from ..utils.cli import SEED
from ..visualization.view_figure import view_figure
from .drawing import add_picture_options, draw


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins show views', description='Draw training images as teacher and student see them'
    )
    built.add_argument('config', help='config file whose DistillHook has a student_view, or package::path')
    built.add_argument('--count', type=int, default=4, help='number of images of each view')
    built.add_argument('--seed', type=SEED, default=0, help='seed of the images and of the view')
    built.add_argument('--checkpoint', help='weights of the teacher; draws its confidence')
    built.add_argument('--distiller', help='name of the LogitDistiller, where there are several')
    add_picture_options(built, 'views.png')
    return built


def check(args: Namespace) -> None:
    """Refuse arguments that do not fit.

    Raises:
        ConfigError: If the number of images is not from 1 to 16, or a distiller is named without a checkpoint.
    """
    if not 1 <= args.count <= 16:
        raise ConfigError(f'--count: {args.count} images cannot be drawn; valid: 1 to 16')
    if args.distiller and not args.checkpoint:
        raise ConfigError(f"--distiller is '{args.distiller}' without --checkpoint; give both")


def figure_of(config: Config, args: Namespace) -> Any:
    """Return the figure."""
    return view_figure(config, args.count, args.seed, args.checkpoint, args.distiller, args.device)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw; return the exit status."""
    return draw(parser(), figure_of, arguments, check)
