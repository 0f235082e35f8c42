"""Compare FGD's loss with the released one: ``python tools/benchmark/focal_global.py --release PATH``.

PATH is a clone of https://github.com/yzd-v/FGD, or its file ``mmdet/distillation/losses/fgd.py``. Only this file is
executed, without the MMDetection 2 that it needs otherwise: the registry and the two initialisations that it imports
are replaced. Use a clone that you trust.

Both sides get the same maps, boxes and weights and compute all four terms of all levels, forward and backward, for
images without padding. Ours has the settings of the release (``reference=True``, ``freeze_teacher_block=False``), and
values and gradients are compared first. Their runs alternate, so that other work on the machine slows both alike, and
the ratio is the median over pairs of consecutive runs. On one CPU thread, seconds are processor time. Memory is what a
step needs beyond its inputs and weights at its peak (:func:`kd_plugins.profiling.memory.peak_beyond`).
"""

from __future__ import annotations

import importlib.util
import math
import statistics
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from kd_plugins.distillers import Batch, FocalGlobalDistiller
from kd_plugins.errors import ConfigError, KDPluginsError
from kd_plugins.profiling import benchmark
from kd_plugins.profiling.benchmark import add_side_options, check_sizes
from kd_plugins.profiling.memory import peak_beyond
from kd_plugins.profiling.sides import in_turn, relative_difference, seconds
from kd_plugins.utils.tables import print_table

FILE = 'mmdet/distillation/losses/fgd.py'
STRIDES = (8, 16, 32, 64, 128)
TOLERANCE = 1e-3
"""Largest relative difference of losses and gradients, in float32."""


def parser() -> ArgumentParser:
    """Return the parser; the defaults are two images of COCO at 1333x800."""
    built = ArgumentParser(description="Compare FGD's loss with the released one, forward and backward")
    built.add_argument('--release', required=True, help='a clone of yzd-v/FGD, or its fgd.py; the file is executed')
    built.add_argument('--images', type=int, default=2, help='images of the batch')
    built.add_argument('--objects', type=int, nargs='+', default=[10, 100], help='objects per image')
    built.add_argument('--channels', type=int, default=256)
    built.add_argument('--size', type=int, nargs=2, default=[800, 1344], help='height and width of the images')
    add_side_options(built, repeats=3)
    return built


def load_release(path: str) -> Any:
    """Return the class ``FeatureLoss`` of a released file.

    Args:
        path: A clone of the repository, or the file.

    Raises:
        ConfigError: If there is no such file or it does not define the class.
    """
    file = Path(path) / FILE if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise ConfigError(f"--release: '{file}' does not exist; give a clone of yzd-v/FGD, or its {FILE}")
    package = 'kd_plugins_released.losses'
    stubs = {name: ModuleType(name) for name in ('kd_plugins_released', package, 'mmcv', 'mmcv.cnn')}
    builder: Any = ModuleType('kd_plugins_released.builder')
    builder.DISTILL_LOSSES = SimpleNamespace(register_module=lambda: lambda cls: cls)
    initialisation: Any = stubs['mmcv.cnn']
    initialisation.constant_init = _constant
    initialisation.kaiming_init = _kaiming
    spec = importlib.util.spec_from_file_location(f'{package}.fgd', file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with patch.dict(sys.modules, {**stubs, 'kd_plugins_released.builder': builder}):
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise ConfigError(f"--release: '{file}' cannot be executed: {type(error).__name__}: {error}") from error
    if not hasattr(module, 'FeatureLoss'):
        raise ConfigError(f"--release: '{file}' defines no FeatureLoss; give {FILE} of yzd-v/FGD")
    return module.FeatureLoss


def _constant(module: Any, val: float) -> None:
    nn.init.constant_(module.weight, val)
    nn.init.constant_(module.bias, 0.0)


def _kaiming(module: Any, mode: str) -> None:
    nn.init.kaiming_normal_(module.weight, mode=mode)  # type: ignore[arg-type]
    nn.init.constant_(module.bias, 0.0)


class Side:
    """One implementation on one batch.

    Args:
        args: Of the command line.
        objects: Objects of each image.
        seed: Draws the same maps, boxes and weights for both sides.
    """

    def __init__(self, args: Namespace, objects: int, seed: int = 0) -> None:
        torch.manual_seed(seed)
        height, width = args.size
        shapes = [(args.images, args.channels, math.ceil(height / s), math.ceil(width / s)) for s in STRIDES]
        self.student, self.teacher = ([torch.randn(shape).to(args.device) for shape in shapes] for _ in range(2))
        low, extent = torch.rand(args.images, objects, 2) * 0.7, 0.02 + torch.rand(args.images, objects, 2) * 0.25
        limits = torch.tensor([width, height, width, height])
        self.boxes = (torch.cat([low, low + extent], dim=-1) * limits).to(args.device)
        self.weights: list[Tensor] = []
        self.leaves = [level.requires_grad_() for level in self.student]

    def held(self) -> list[Tensor]:
        """Return inputs and weights."""
        return [*self.student, *self.teacher, self.boxes, *self.weights]

    def gradients(self) -> list[Tensor]:
        """Return the gradients of the maps in the last step."""
        return [level.grad for level in self.leaves if level.grad is not None]

    def loss(self) -> Tensor:
        """Return the sum of all terms."""
        raise NotImplementedError

    def step(self) -> Tensor:
        """Compute loss and gradients."""
        for tensor in [*self.leaves, *self.weights]:
            tensor.grad = None
        loss = self.loss()
        loss.backward()
        return loss.detach()


class Released(Side):
    """The released loss, one module per level, with the settings of its configs for GFL and RetinaNet."""

    def __init__(self, args: Namespace, objects: int, release: Callable[..., nn.Module]) -> None:
        super().__init__(args, objects)
        channels = args.channels
        self.modules = [release(channels, channels, f'level{i}', gamma_fgd=5e-4) for i in range(len(STRIDES))]
        for index, module in enumerate(self.modules):
            _fill(context_weights(module.to(args.device)), index)
            self.weights += module.parameters()
        self.metas = [{'img_shape': (*args.size, 3)}] * args.images

    def loss(self) -> Tensor:
        """Return the sum over levels."""
        levels = zip(self.modules, self.student, self.teacher)
        return torch.stack([module(s, t, list(self.boxes), self.metas) for module, s, t in levels]).sum()


class Ours(Side):
    """The distiller of this package with the settings of the release."""

    def __init__(self, args: Namespace, objects: int) -> None:
        super().__init__(args, objects)
        samples = [
            SimpleNamespace(metainfo={'img_shape': tuple(args.size)}, gt_instances=SimpleNamespace(bboxes=boxes))
            for boxes in self.boxes
        ]
        # The images are not read; their shape is.
        images = torch.empty(1, device=args.device).expand(args.images, 3, *args.size)
        self.batch = Batch(images, samples)
        self.distiller = FocalGlobalDistiller(reference=True, freeze_teacher_block=False)
        self.distiller.initialize({'student_tap': self.student}, {'teacher_tap': self.teacher})
        for index, blocks in enumerate(zip(self.distiller.student_blocks, self.distiller.teacher_blocks)):
            _fill([tensor for block in blocks for tensor in block.parameters()], index)
        self.weights += self.distiller.parameters()

    def loss(self) -> Tensor:
        """Return the sum of the four terms."""
        terms = self.distiller({'student_tap': self.student}, {'teacher_tap': self.teacher}, self.batch)
        return torch.stack(list(terms.values())).sum()


def context_weights(module: Any) -> list[Tensor]:
    """Return the weights of both context blocks of a released loss, in the order of ours."""
    found = []
    for side in 's', 't':
        layers = getattr(module, f'channel_add_conv_{side}')
        found += [getattr(module, f'conv_mask_{side}').weight]
        found += [getattr(layers[index], name) for index in (0, 1, 3) for name in ('weight', 'bias')]
    return found


@torch.no_grad()
def _fill(weights: Sequence[Tensor], seed: int) -> None:
    """Draw weights that depend on the seed and on their number of elements alone."""
    for number, weight in enumerate(weights):
        generator = torch.Generator().manual_seed(1000 * seed + number)
        weight.copy_((0.1 * torch.randn(weight.numel(), generator=generator)).view_as(weight))


def compare(sides: dict[str, Side]) -> dict[str, float]:
    """Compare loss and gradients of both sides.

    Raises:
        KDPluginsError: If they differ.
    """
    losses = {name: side.step() for name, side in sides.items()}
    loss = relative_difference(losses['ours'], losses['released'])
    gradient = max(relative_difference(*pair) for pair in zip(*(side.gradients() for side in sides.values())))
    if not max(loss, gradient) < TOLERANCE:
        raise KDPluginsError(f'the two sides differ: the loss by {loss:.1e}, the gradients by {gradient:.1e}')
    return dict(loss=loss, gradient=gradient)


def measure(sides: dict[str, Side], repeats: int, device: str) -> dict[str, list[float]]:
    """Return the seconds of the steps of each side, run in turn after one run that is not counted."""
    wall = torch.device(device).type == 'cuda' or torch.get_num_threads() > 1
    timed = partial(seconds, device=device, clock=time.perf_counter if wall else time.process_time)
    times: dict[str, list[float]] = {name: [] for name in sides}
    for name, counts in in_turn(list(sides), repeats):
        taken = timed(sides[name].step)
        if counts:
            times[name].append(taken)
    return times


def peak_bytes(side: Side, device: str) -> int:
    """Return how many bytes a step needs beyond inputs and weights."""
    for x in side.held():
        x.grad = None
    return peak_beyond(side.held(), side.step, device)


def run(args: Namespace) -> dict[str, Any]:
    """Compare, measure and print."""
    torch.set_num_threads(args.threads)
    release = load_release(args.release)
    rows, results = [], []
    for objects in args.objects:
        sides: dict[str, Side] = {'ours': Ours(args, objects), 'released': Released(args, objects, release)}
        agreement = compare(sides)
        times = measure(sides, args.repeats, args.device)
        memory = {name: peak_bytes(side, args.device) for name, side in sides.items()}
        ratio = statistics.median(other / mine for mine, other in zip(times['ours'], times['released']))
        results.append(dict(objects=objects, ratio=ratio, agreement=agreement, seconds=times, bytes=memory))
        spans = [f'{1e3 * statistics.median(times[name]):.1f}' for name in sides]
        sizes = [f'{memory[name] / 2**20:.0f}' for name in sides]
        rows.append([str(objects), *spans, f'{ratio:.1f}', *sizes, f'{memory["released"] / memory["ours"]:.1f}'])
    height, width = args.size
    print_table(
        f"FGD's loss at five levels, {args.images} images of {width}x{height}, {args.channels} channels, median of "
        f'{args.repeats} ({args.device}, threads: {args.threads})',
        ['objects per image', 'ours (ms)', 'released (ms)', 'released / ours']
        + ['ours (MiB)', 'released (MiB)', 'released / ours'],
        rows,
    )
    worst = {name: max(result['agreement'][name] for result in results) for name in ('loss', 'gradient')}  # type: ignore[index]
    print(f'\nLosses agree within {worst["loss"]:.1e} and gradients within {worst["gradient"]:.1e} (relative).')
    settings = {key: value for key, value in vars(args).items() if key != 'out'}
    return dict(settings=settings, torch=torch.__version__, results=results)


def check_arguments(args: Namespace) -> None:
    """Refuse numbers that make no batch.

    Raises:
        ConfigError: Naming the argument.
    """
    check_sizes(args, ['images', 'objects', 'size', 'repeats', 'threads'])
    check_sizes(args, ['channels'], lowest=2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    return benchmark.main(parser(), run, arguments, check_arguments)


if __name__ == '__main__':
    sys.exit(main())
