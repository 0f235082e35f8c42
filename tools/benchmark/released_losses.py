"""Compare losses with those of MMRazor: ``python tools/benchmark/released_losses.py --release PATH``.

PATH is a clone of https://github.com/open-mmlab/mmrazor or an unpacked wheel of mmrazor 1.0.0. Only the files of its
losses are executed, with a registry in place of the package's own. Use files that you trust.

Both sides get the same tensors: feature maps of two images of COCO at 1333x800, and class scores of two crops of
Cityscapes at an eighth of 1024x2048. Values and gradients are compared first, where MMRazor's are multiplied by the
factor between the two reductions. Runs alternate and the ratio is the median over pairs of consecutive runs. On one CPU
thread, seconds are processor time. Memory is what forward and backward pass need beyond their inputs at the peak.
"""

from __future__ import annotations

import importlib.util
import math
import statistics
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from kd_plugins.errors import ConfigError, KDPluginsError
from kd_plugins.losses.dist import dist_loss
from kd_plugins.losses.feature import channel_wise_kl, feature_mse
from kd_plugins.losses.logit import softmax_kl_loss
from kd_plugins.losses.pearson import pearson_distance
from kd_plugins.losses.target_split import dkd_loss
from kd_plugins.profiling import benchmark
from kd_plugins.profiling.benchmark import add_side_options, check_sizes
from kd_plugins.profiling.memory import peak_beyond
from kd_plugins.profiling.sides import in_turn, relative_difference, seconds
from kd_plugins.utils.tables import print_table

FOLDERS = ('mmrazor/models/losses', 'mmrazor/models/architectures/losses')
TOLERANCE = 1e-4
"""Largest relative difference of losses and gradients, in float32."""
STRIDES = (8, 16, 32, 64, 128)
Loss = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """One loss on both sides.

    Attributes:
        file: Of the released loss.
        name: Its class.
        shapes: Of the student's and of the teacher's tensors.
        ours: This package's loss of student, teacher and labels.
        released: The same with the released module as first argument.
        settings: Arguments of the released module.
        classes: Number of labels, or 0.
    """

    file: str
    name: str
    shapes: Sequence[tuple[int, ...]]
    ours: Loss
    released: Callable[[Any, Sequence[Tensor], Sequence[Tensor], Tensor], Tensor]
    settings: dict[str, Any]
    classes: int = 0


def cases(size: Sequence[int], scores: Sequence[int], channels: int, classes: int) -> dict[str, Case]:
    """Return the losses that both packages have.

    Args:
        size: Height and width of the images of the feature maps.
        scores: Height and width of the maps of class scores.
        channels: Channels of the feature maps.
        classes: Number of classes.
    """
    maps = [(2, channels, math.ceil(size[0] / s), math.ceil(size[1] / s)) for s in STRIDES]
    height, width = scores
    segmented, rows = [(2, classes, height, width)], [(2 * height * width, classes)]
    levels = len(maps)
    return {
        'squared differences (MGD)': Case(
            'mgd_loss',
            'MGDLoss',
            maps[:1],
            lambda s, t, _: feature_mse(s[0], t[0], 'sum').mean(),
            lambda loss, s, t, _: loss(s[0], t[0]),
            {'alpha_mgd': 1.0},
        ),
        'PKD': Case(
            'pkd_loss',
            'PKDLoss',
            maps,
            lambda s, t, _: pearson_distance(s, t),
            lambda loss, s, t, _: loss(tuple(s), tuple(t)) / levels,
            {},
        ),
        'CWD': Case(
            'cwd',
            'ChannelWiseDivergence',
            segmented,
            lambda s, t, _: channel_wise_kl(s[0], t[0], 4.0).mean(),
            lambda loss, s, t, _: loss(s[0], t[0]),
            {'tau': 4.0},
        ),
        'KL': Case(
            'kl_divergence',
            'KLDivergence',
            segmented,
            lambda s, t, _: softmax_kl_loss(s, t, 2.0),
            lambda loss, s, t, _: loss(s[0], t[0]) / (height * width),
            {'tau': 2.0},
        ),
        'DIST': Case(
            'dist_loss',
            'DISTLoss',
            rows,
            lambda s, t, _: dist_loss(s[0], t[0], temperature=2.0),
            lambda loss, s, t, _: loss(s[0], t[0]),
            {'tau': 2.0},
        ),
        'DKD': Case(
            'decoupled_kd',
            'DKDLoss',
            rows,
            lambda s, t, labels: dkd_loss(s[0], t[0], labels, 2.0, 1.0, 8.0),
            lambda loss, s, t, labels: loss(s[0], t[0], labels),
            {'tau': 2.0, 'alpha': 1.0, 'beta': 8.0},
            classes,
        ),
    }


def load_release(path: str, file: str, name: str) -> Any:
    """Return a class of a released file.

    Args:
        path: Folder that holds MMRazor.
        file: Name of the file.
        name: Name of the class.

    Raises:
        ConfigError: If there is no such file or it does not define the class.
    """
    place = next((found for part in FOLDERS if (found := Path(path) / part / f'{file}.py').is_file()), None)
    if place is None:
        raise ConfigError(f"--release: '{path}' holds no {FOLDERS[0]}/{file}.py; give a clone of mmrazor, or its wheel")
    registry: Any = ModuleType('mmrazor.registry')
    registry.MODELS = SimpleNamespace(register_module=lambda: lambda cls: cls)
    spec = importlib.util.spec_from_file_location(f'kd_plugins_released.{file}', place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with patch.dict(sys.modules, {'mmrazor': ModuleType('mmrazor'), 'mmrazor.registry': registry}):
        try:
            spec.loader.exec_module(module)
            return getattr(module, name)
        except Exception as error:
            raise ConfigError(f"--release: '{place}' gives no {name}: {type(error).__name__}: {error}") from error


class Side:
    """One loss on one batch.

    Args:
        loss: Of student, teacher and labels.
        case: Shapes of the tensors.
        device: Device of the tensors.
    """

    def __init__(self, loss: Loss, case: Case, device: str) -> None:
        generator = torch.Generator().manual_seed(0)
        drawn = [[torch.randn(shape, generator=generator) for shape in case.shapes] for _ in range(2)]
        self.student, self.teacher = ([tensor.to(device) for tensor in side] for side in drawn)
        self.labels = torch.randint(case.classes or 1, case.shapes[0][:1], generator=generator).to(device)
        self.loss = loss
        for tensor in self.student:
            tensor.requires_grad_()

    def held(self) -> list[Tensor]:
        """Return the inputs."""
        return [*self.student, *self.teacher, self.labels]

    def clear(self) -> None:
        """Forget the gradients."""
        for tensor in self.student:
            tensor.grad = None

    def step(self) -> Tensor:
        """Compute loss and gradients."""
        self.clear()
        loss = self.loss(self.student, self.teacher, self.labels)
        loss.backward()
        return loss.detach()


def compare(name: str, ours: Side, released: Side) -> float:
    """Return the largest relative difference of loss and gradients.

    Raises:
        KDPluginsError: If it is too large.
    """
    difference = relative_difference(ours.step(), released.step())
    for mine, other in zip(ours.student, released.student):
        assert mine.grad is not None and other.grad is not None
        difference = max(difference, relative_difference(mine.grad, other.grad))
    if not difference < TOLERANCE:
        raise KDPluginsError(f'{name}: the two sides differ by {difference:.1e}')
    return difference


def run(args: Namespace) -> dict[str, Any]:
    """Compare, measure and print."""
    torch.set_num_threads(args.threads)
    wall = torch.device(args.device).type == 'cuda' or args.threads > 1
    timed = partial(seconds, device=args.device, clock=time.perf_counter if wall else time.process_time)
    rows: list[list[str]] = []
    results: list[dict[str, Any]] = []
    for name, case in cases(args.size, args.scores, args.channels, args.classes).items():
        module = load_release(args.release, case.file, case.name)(**case.settings)
        sides = {
            'ours': Side(case.ours, case, args.device),
            'released': Side(partial(case.released, module), case, args.device),
        }
        difference = compare(name, sides['ours'], sides['released'])
        times: dict[str, list[float]] = {side: [] for side in sides}
        for key, counts in in_turn(list(sides), args.repeats):
            taken = timed(sides[key].step)
            if counts:
                times[key].append(taken)
        memory = {}
        for key, side in sides.items():
            side.clear()
            memory[key] = peak_beyond(side.held(), side.step, args.device)
        ratio = statistics.median(other / mine for mine, other in zip(times['ours'], times['released']))
        results.append(dict(loss=name, ratio=ratio, difference=difference, seconds=times, bytes=memory))
        spans = [f'{1e3 * statistics.median(times[key]):.1f}' for key in sides]
        sizes = [f'{memory[key] / 2**20:.0f}' for key in sides]
        rows.append([name, *spans, f'{ratio:.2f}', *sizes, f'{memory["released"] / memory["ours"]:.2f}'])
    print_table(
        f'Losses, forward and backward, median of {args.repeats} ({args.device}, threads: {args.threads})',
        ['loss', 'ours (ms)', 'released (ms)', 'released / ours', 'ours (MiB)', 'released (MiB)', 'released / ours'],
        rows,
    )
    worst = max(result['difference'] for result in results)
    print(f'\nLosses and gradients agree within {worst:.1e} (relative).')
    return dict(
        settings={key: value for key, value in vars(args).items() if key != 'out'},
        torch=torch.__version__,
        results=results,
    )


def check_arguments(args: Namespace) -> None:
    """Refuse numbers that make no batch.

    Raises:
        ConfigError: Naming the argument.
    """
    check_sizes(args, ['size', 'scores', 'channels', 'repeats', 'threads'])
    check_sizes(args, ['classes'], lowest=2)


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(description="Compare losses with MMRazor's, forward and backward")
    built.add_argument('--release', required=True, help='a clone of mmrazor or its unpacked wheel; files are executed')
    built.add_argument('--size', type=int, nargs=2, default=[800, 1344], help='height and width of the images')
    built.add_argument('--scores', type=int, nargs=2, default=[128, 256], help='height and width of class scores')
    built.add_argument('--channels', type=int, default=256, help='channels of the feature maps')
    built.add_argument('--classes', type=int, default=19)
    add_side_options(built, repeats=7)
    return built


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    return benchmark.main(parser(), run, arguments, check_arguments)


if __name__ == '__main__':
    sys.exit(main())
