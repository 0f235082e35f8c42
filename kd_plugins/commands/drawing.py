"""Arguments and main shared by the subcommands that draw a picture."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from typing import Any

from mmengine.config import Config

from ..config.loading import load_config
from ..errors import ConfigError
from ..utils.cli import add_cfg_options, one_sentence, parse
from ..visualization.pictures import FORMATS, check_picture_name, save_picture


def add_picture_options(parser: ArgumentParser, out: str) -> None:
    """Add ``--out``, ``--device`` and ``--cfg-options``.

    Args:
        parser: The parser.
        out: Default of ``--out``.
    """
    parser.add_argument('--out', default=out, help=f'picture to write; ends in {", ".join(FORMATS)}')
    parser.add_argument('--device', default='cpu', help='cpu, cuda, cuda:1, ...')
    add_cfg_options(parser)


def check_top(args: Namespace, subject: str) -> None:
    """Refuse ``--top`` below 1.

    Args:
        args: Parsed arguments.
        subject: What ``--top`` counts, with ``{}`` for the number.

    Raises:
        ConfigError: If nothing would be drawn.
    """
    if args.top < 1:
        raise ConfigError(f'--top: {subject.format(args.top)} cannot be drawn; nearest: 1')


def draw(
    parser: ArgumentParser,
    figure_of: Callable[[Config, Namespace], Any],
    arguments: Sequence[str] | None,
    check: Callable[[Namespace], None] = lambda args: None,
) -> int:
    """Read the arguments, draw, and write the picture to ``--out``; return the exit status.

    Args:
        parser: With ``config`` and the options of :func:`add_picture_options`.
        figure_of: Draws what the config and the arguments ask for.
        arguments: Of the command line; by default those that Python was started with.
        check: Refuses arguments before a model is built.
    """
    args = parse(parser, arguments)
    with one_sentence():
        check_picture_name(args.out)
        check(args)
        save_picture(figure_of(load_config(args.config, args.cfg_options), args), args.out)
        print(args.out)
    return 0
