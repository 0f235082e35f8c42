"""Fuse a trained model for inference: ``kd_plugins deploy CONFIG CHECKPOINT OUT.pth``.

Convolutions take in their BatchNorm layers, RepVGG blocks become one convolution, and D-FINE and RT-DETR drop what only
trains.
``kd_plugins test`` and ``kd_plugins export`` read the new checkpoint with the same config.
"""

from __future__ import annotations

import io
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import torch

from ..config.loading import load_config
from ..deployment.fusion import Fusion, fuse
from ..deployment.images import image_size
from ..errors import ConfigError
from ..runner.weights import FUSED
from ..utils.cli import add_cfg_options, one_sentence, parse
from ..utils.files import write_atomically
from ..utils.tables import print_table
from ..visualization.loading import build_trained


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(prog='kd_plugins deploy', description='Fuse a trained model for inference')
    add_model_arguments(built, 'OUT.pth')
    return built


def add_model_arguments(parser: ArgumentParser, out: str) -> None:
    """Add the arguments that ``deploy`` and ``export`` share.

    Args:
        parser: The parser.
        out: Name of the file to write.
    """
    parser.add_argument('config', metavar='CONFIG', help='config file, or package::path')
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='checkpoint file, or a URL')
    parser.add_argument('out', metavar=out, type=Path, help='file to write')
    parser.add_argument(
        '--size', type=int, nargs=2, metavar=('H', 'W'),
        help='height and width of the images, multiples of 32; default: those of the test pipeline, or 640 640',
    )  # fmt: skip
    add_cfg_options(parser)


def check_out(args: Namespace, suffix: str) -> None:
    """Refuse a name of the new file.

    Raises:
        ConfigError: If it has another suffix, or is that of the checkpoint.
    """
    if args.out.suffix != suffix:
        raise ConfigError(f"OUT: '{args.out}' does not end in '{suffix}'; nearest: '{args.out.with_suffix(suffix)}'")
    if args.out.resolve() == Path(args.checkpoint).resolve():
        raise ConfigError(f"OUT: '{args.out}' is CHECKPOINT; name another file")


def report(fusion: Fusion, height: int, width: int) -> None:
    """Print parameters, operations and the difference of the outputs.

    Args:
        fusion: The fused model.
        height: Height of the images.
        width: Width of the images.
    """
    costs = fusion.before, fusion.after
    print_table(
        f'{type(fusion.model).__name__}, one image of {height} x {width}',
        ['', 'before', 'after'],
        [
            ['parameters', *(f'{cost.parameters:,}' for cost in costs)],
            ['GFLOPs, two for a multiply-add', *(f'{cost.flops / 1e9:.3f}' for cost in costs)],
        ],
    )
    if fusion.changed:
        print(f'{fusion.changed} modules fused or dropped; the outputs differ by {fusion.difference:.1e} in float64')
    else:
        print('the model is fused already')


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuse, compare, write and report; return the exit status."""
    args = parse(parser(), arguments)
    with one_sentence():
        check_out(args, '.pth')
        config = load_config(args.config, args.cfg_options)
        height, width = image_size(config, args.size)
        model, meta = build_trained(config, args.checkpoint, 'cpu')
        fusion = fuse(model, height, width)
        kept = {name: meta[name] for name in ('dataset_meta', 'epoch', 'iter', 'converted_from') if name in meta}
        buffer = io.BytesIO()
        torch.save({'meta': {**kept, FUSED: True}, 'state_dict': fusion.model.state_dict()}, buffer)
        write_atomically(args.out, buffer.getvalue())
        report(fusion, height, width)
        print(f'written: {args.out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
