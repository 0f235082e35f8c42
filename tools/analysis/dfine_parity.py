"""Compare the detectors of ``configs/_base_/models/dfine_*.py`` with transformers' D-FINE: one row for each size.

Both sides get the same random weights and images and run in float64; the column ``difference`` is the largest absolute
difference of the neck's maps, the scores of all tokens, the logits and the boxes. ``parameters`` are those with 80
classes as the release counts them: with its two
    python tools/analysis/dfine_parity.py --sizes n s --height 320 --width 320
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kd_plugins.models.reparameterization import switch_to_deploy
from kd_plugins.utils.tables import print_table
from tools.analysis.dfine_twins import SIZES, Parity, ours, parity

CONSTANTS = 2
LIMIT = 1e-9
LAYOUT = 'transformers 5'
COLUMNS = ['size', 'layout', 'difference', 'parameters', 'GMAC']


def parser(name: str = 'D-FINE', sizes: Sequence[str] = tuple(SIZES)) -> ArgumentParser:
    """Return the parser.

    Args:
        name: Name of the detector.
        sizes: Names of its sizes.
    """
    built = ArgumentParser(description=f"Compare our {name} with transformers', weights and outputs")
    built.add_argument('--sizes', nargs='+', default=list(sizes), choices=list(sizes))
    built.add_argument('--height', type=int, default=320, help='height of the compared images')
    built.add_argument('--width', type=int, default=320, help='width of the compared images')
    built.add_argument('--seed', type=int, default=0, help='seed of weights and images')
    return built


def parameters(model: nn.Module) -> int:
    """Return the number of parameters as the release counts them."""
    frozen = [
        parameter
        for module in model.modules()
        if isinstance(module, nn.BatchNorm2d)
        for parameter in module.parameters()
        if not parameter.requires_grad and getattr(model.backbone, 'frozen_norm', False)
    ]
    return sum(part.numel() for part in model.parameters()) - sum(part.numel() for part in frozen) + CONSTANTS


def multiply_adds(size: str, side: int = 640, build: Callable[[str], nn.Module] = ours) -> int:
    """Return the multiply-adds of one square image, without computing anything.

    Args:
        size: A key of ``SIZES``.
        build: Makes the detector of a size.
        side: Side of the image in pixels, a multiple of 32.
    """
    with torch.device('meta'), torch.no_grad():
        model = build(size)
        switch_to_deploy(model)
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, 3, side, side), mode='tensor')
    return counter.get_total_flops() // 2


def worst_difference(result: Parity) -> tuple[str, bool]:
    """Return the cell with the largest difference and whether it is below the limit."""
    worst = max(result.differences, key=lambda name: result.differences[name])
    return f'{result.differences[worst]:.1e} ({worst})', result.differences[worst] < LIMIT


def row(size: str, args: Namespace) -> tuple[list[str], bool]:
    """Return the cells of a size and whether the difference is below the limit."""
    difference, small = worst_difference(parity(size, args.height, args.width, args.seed))
    with torch.device('meta'):
        count = parameters(ours(size))
    return [size.upper(), LAYOUT, difference, f'{count:,}', f'{multiply_adds(size) / 1e9:.2f}'], small


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 if a size differs."""
    args = parser().parse_args(argv)
    rows, same = zip(*(row(size, args) for size in args.sizes))
    print_table('D-FINE and transformers', COLUMNS, list(rows))
    return 0 if all(same) else 1


if __name__ == '__main__':
    sys.exit(main())
