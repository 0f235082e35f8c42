"""Draw the keypoints that a pose estimator predicts: ``kd_plugins show keypoints CONFIG CHECKPOINT``.

Draws ground truth, teacher and student side by side, and the distributions of the joints where they differ most.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from ..config.loading import load_config
from ..errors import ConfigError
from ..visualization.person import person_figure, read_person
from .drawing import add_picture_options, check_top, draw


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins show keypoints',
        description='Draw ground truth, teacher and student of a person, and the distributions of joints',
    )
    built.add_argument('config', help='config file of a top-down pose estimator, or package::path')
    built.add_argument('checkpoint', help='checkpoint file, or a URL')
    built.add_argument('--teacher', nargs=2, metavar=('CONFIG', 'CHECKPOINT'), help='the same of the teacher')
    person = built.add_mutually_exclusive_group()
    person.add_argument('--index', type=int, default=0, help="which person of the config's test data")
    person.add_argument('--image', metavar='FILE', help='an image in place of the test data')
    built.add_argument(
        '--bbox', type=float, nargs=4, metavar=('X1', 'Y1', 'X2', 'Y2'), help='the person in --image; default all of it'
    )
    built.add_argument('--joints', nargs='+', metavar='JOINT', help='numbers or names; default where both differ most')
    built.add_argument('--top', type=int, default=3, help='how many joints without --joints')
    add_picture_options(built, 'keypoints.png')
    return built


def check(args: Namespace) -> None:
    """Refuse arguments of which no picture can be drawn.

    Raises:
        ConfigError: Naming the argument.
    """
    check_top(args, '{} joints')
    if args.bbox is not None:
        if args.image is None:
            raise ConfigError('--bbox: the test data has boxes of its own; give --image with it')
        x1, y1, x2, y2 = args.bbox
        if not (x1 < x2 and y1 < y2):
            raise ConfigError(f'--bbox: {x1:g} {y1:g} {x2:g} {y2:g} is empty; give x1 y1 x2 y2 with x1 < x2, y1 < y2')


def figure_of(config: Config, args: Namespace) -> Any:
    """Return the figure."""
    person = read_person(config, args.index, args.image, args.bbox)
    teacher = (load_config(args.teacher[0]), args.teacher[1]) if args.teacher else None
    return person_figure(person, (config, args.checkpoint), teacher, args.joints, args.top, args.device)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw; return the exit status."""
    return draw(parser(), figure_of, arguments, check)
