"""Compare the detectors of ``configs/_base_/models/rtdetr_*.py`` with transformers' RT-DETR and RT-DETRv2.

One row for each size and version: both sides get the same random weights and images and run in float64. The column
``difference`` is the largest absolute difference of the encoder's maps, the scores of all tokens, the logits and the
boxes. ``parameters`` are those with 80 classes as the release counts them: without frozen norms, which it keeps as
buffers. ``GMAC`` are the multiply-adds of one image of 640 x 640 up to the layer that predicts, as in the release.

    python tools/analysis/rtdetr_parity.py --sizes r18vd --versions 2 --height 128 --width 192
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

import torch
from torch import nn

from kd_plugins.utils.tables import print_table
from tools.analysis import dfine_parity
from tools.analysis.dfine_parity import multiply_adds, worst_difference
from tools.analysis.rtdetr_twins import SIZES, VERSIONS, ours, parity


def parameters(model: nn.Module) -> int:
    """Return the number of parameters as the release counts them."""
    norms = [norm for norm in model.backbone.modules() if isinstance(norm, nn.BatchNorm2d)]  # type: ignore[union-attr]
    frozen = [part for norm in norms for part in norm.parameters() if not part.requires_grad]
    return sum(part.numel() for part in model.parameters()) - sum(part.numel() for part in frozen)


def row(size: str, version: int, args: Namespace) -> tuple[list[str], bool]:
    """Return the cells of a size and whether the difference is below the limit."""
    difference, small = worst_difference(parity(size, version, args.height, args.width, args.seed))
    with torch.device('meta'):
        count = parameters(ours(size))
    macs = multiply_adds(size, build=ours) / 1e9
    return [f'v{version} {size}', dfine_parity.LAYOUT, difference, f'{count:,}', f'{macs:.2f}'], small


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 if a size differs."""
    parser = dfine_parity.parser('RT-DETR', tuple(SIZES))
    parser.add_argument('--versions', nargs='+', type=int, default=list(VERSIONS), choices=VERSIONS)
    args = parser.parse_args(argv)
    rows, same = zip(*(row(size, version, args) for version in args.versions for size in args.sizes))
    print_table('RT-DETR and transformers', dfine_parity.COLUMNS, list(rows))
    return 0 if all(same) else 1


if __name__ == '__main__':
    sys.exit(main())
