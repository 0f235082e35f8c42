"""Compare MMCV's compiled ops of two environments: time per call on a CPU, and whether the results are equal.

``mmcv_ops.py PYTHON OTHER_PYTHON`` runs both interpreters in turns and prints, for each op, the median time and the
ratio to the first. It shows whether compiler flags or another way to build MMCV cost speed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

REPEATS = 5


def calls() -> dict[str, Callable[[], Any]]:
    """Return one call per op on fixed inputs; each returns a tensor or several."""
    import torch
    from mmcv import ops

    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Any:
        return torch.rand(shape, generator=random)

    corners = draw(4000, 2) * 500
    boxes = torch.cat([corners, corners + 5 + draw(4000, 2) * 60], 1)
    scores, rotated = draw(4000), torch.cat([boxes[:600, :2], 5 + draw(600, 2) * 60, draw(600, 1)], 1)
    maps, rois = draw(2, 64, 50, 50), torch.cat([(draw(300, 1) > 0.5).float(), boxes[:300] / 10], 1)
    rotated_rois = torch.cat([rois[:, :1], rotated[:300] / 10], 1)
    weight, offset, mask = draw(64, 64, 3, 3), draw(2, 18, 50, 50) - 0.5, draw(2, 9, 50, 50)
    points = torch.cat([draw(20000, 2) * 60 - 30, draw(20000, 2)], 1)

    def with_gradient(function: Callable[..., Any], *inputs: Any) -> Any:
        leaves = [value.clone().requires_grad_() for value in inputs]
        result = function(*leaves)
        return [result, *torch.autograd.grad(result.square().sum(), leaves)]

    return {
        'nms': lambda: ops.nms(boxes, scores, 0.5)[1],
        'nms_rotated': lambda: ops.nms_rotated(rotated, scores[:600], 0.3)[1],
        'box_iou_rotated': lambda: ops.box_iou_rotated(rotated, rotated),
        'roi_align': lambda: with_gradient(lambda x: ops.roi_align(x, rois, (7, 7), 1.0, 2), maps),
        'roi_align_rotated': lambda: with_gradient(
            lambda x: ops.roi_align_rotated(x, rotated_rois, (7, 7), 1.0, 2), maps
        ),
        'deform_conv2d': lambda: with_gradient(
            lambda x, o, w: ops.deform_conv2d(x, o, w, 1, 1, 1, 1, 1, False, 2), maps, offset, weight
        ),
        'modulated_deform_conv2d': lambda: with_gradient(
            lambda x, o, m, w: ops.modulated_deform_conv2d(x, o, m, w, None, 1, 1, 1, 1, 1), maps, offset, mask, weight
        ),
        'voxelization': lambda: ops.Voxelization([0.2, 0.2, 4], [-30, -30, -1, 30, 30, 3], 32)(points),
    }


def digest(result: Any) -> str:
    """Return a hash of one or more tensors."""
    tensors = result if isinstance(result, (list, tuple)) else [result]
    return hashlib.sha256(b''.join(value.detach().numpy().tobytes() for value in tensors)).hexdigest()


def measure() -> None:
    """Print name, seconds and hash of the result of each op as JSON."""
    import torch

    torch.set_num_threads(1)
    answers = {}
    for name, call in calls().items():
        hashed = digest(call())
        times = []
        for _ in range(REPEATS):
            start = time.process_time()
            call()
            times.append(time.process_time() - start)
        answers[name] = (min(times), hashed)
    print(json.dumps(answers))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Compare MMCV's ops of two environments.")
    parser.add_argument('pythons', nargs='*', metavar='PYTHON', help='interpreters; the first is the baseline')
    parser.add_argument('--rounds', type=int, default=5, help='how often each interpreter measures')
    args = parser.parse_args(arguments)
    if not args.pythons:
        measure()
        return 0

    def answer(python: str) -> Any:
        return json.loads(subprocess.run([python, __file__], capture_output=True, check=True).stdout)

    rounds = [[answer(python) for python in args.pythons] for _ in range(args.rounds)]
    for name in rounds[0][0]:
        seconds = [median(answers[place][name][0] for answers in rounds) for place in range(len(args.pythons))]
        ratios = ' '.join(f'{value * 1e3:9.2f} ms ({value / seconds[0]:.3f})' for value in seconds)
        equal = len({answers[name][1] for answers in rounds[0]}) == 1
        print(f'{name:<24} {ratios}  {"equal" if equal else "different results"}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
