"""Draw how FDR refines the boxes of an image: ``kd_plugins show refinement CONFIG CHECKPOINT IMAGE``.

For the best detections it draws the box of every decoder layer and the four edge distributions behind it.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from functools import partial
from typing import Any

from mmengine.config import Config

from ..visualization.refinement_figure import build_detector, refinement_figure
from .drawing import add_picture_options, check_top, draw


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins show refinement', description='Draw the boxes and edge distributions of all decoder layers'
    )
    built.add_argument('config', help='config file of a detector with FDR, or package::path')
    built.add_argument('checkpoint', help='checkpoint file, or a URL')
    built.add_argument('image', help='image file')
    built.add_argument('--top', type=int, default=3, help='how many of the best detections')
    built.add_argument('--query', type=int, nargs='+', help='these queries in place of the best detections')
    built.add_argument('--score-thr', type=float, default=0.3, help='lowest score of a detection')
    add_picture_options(built, 'refinement.png')
    return built


def figure_of(config: Config, args: Namespace) -> Any:
    """Return the figure."""
    model, meta = build_detector(config, args.checkpoint, args.device)
    return refinement_figure(model, meta, args.image, args.top, args.score_thr, args.query)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw; return the exit status."""
    return draw(parser(), figure_of, arguments, partial(check_top, subject='{} detections'))
