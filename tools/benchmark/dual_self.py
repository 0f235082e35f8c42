"""Measure the cost of dual self-distillation: ``python tools/benchmark/dual_self.py CONFIG``.

Three runs of one config are built in one process. Their steps alternate, on the same batches:

* ``plain``: without its DualSelfDistiller,
* ``ours``: as it is,
* ``direct``: with the same terms from whole maps, as the released code computes them: every head's logits at the size
  of the labels, a probability map and a one-hot map for each Dice term, and two distributions for each divergence.
"""

from __future__ import annotations

import copy
import statistics
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn

from kd_plugins.config.data_checks import needs_generated
from kd_plugins.config.distillers import KEY, distillers_of
from kd_plugins.config.loading import load_config
from kd_plugins.distillers import DualSelfDistiller
from kd_plugins.distillers.dual_self.level_head import LevelHeads
from kd_plugins.distillers.dual_self.level_terms import Branches, LevelLogits, LevelTerms
from kd_plugins.errors import ConfigError
from kd_plugins.profiling import benchmark
from kd_plugins.profiling.benchmark import add_step_options
from kd_plugins.profiling.timing import Cost, interleave, median_ratio
from kd_plugins.registry import MODELS
from kd_plugins.runner.steps import temporary_runner
from kd_plugins.utils.tables import print_table

ARMS = ('plain', 'ours', 'direct')


class DirectTerms(LevelTerms):
    """Terms computed from whole maps."""

    def _supervision(self, logits: Tensor, labels: Tensor) -> Tensor:
        valid = (labels != self.ignore_index)[:, None]
        truth = F.one_hot(labels.masked_fill(~valid[:, 0], 0), self.num_classes).movedim(-1, 1) * valid
        p, axes = logits.softmax(dim=1) * valid, tuple(range(2, logits.ndim))
        overlap, both = (p * truth).sum(axes), p.sum(axes) + truth.sum(axes)
        dice = 1 - (2 * overlap + 1e-5) / (both + 1e-5)
        entropy = F.cross_entropy(logits, labels, ignore_index=self.ignore_index)
        return self.dice_weight * dice.mean() + self.ce_weight * entropy

    def _divergence(self, student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
        first = 0 if self.include_background else 1
        teacher = teacher.detach() if self.detach_teacher else teacher
        log_q = F.log_softmax(student[:, first:] / self.temperature, dim=1)
        p = F.softmax(teacher[:, first:] / self.temperature, dim=1)
        each = F.kl_div(log_q, p, reduction='none').sum(dim=1) * weight
        return self.temperature**2 * each.sum() / weight.sum().clamp(min=1)

    def __call__(
        self,
        heads: LevelHeads,
        branches: Branches,
        logits: LevelLogits,
        labels: Tensor | None,
        size: tuple[int, ...],
        inside: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """See :class:`LevelTerms`; only for ``resolution='full'`` and labelled data."""
        assert labels is not None and self.divisor == 1
        maps = heads.whole(logits, size)
        weight = (labels != self.ignore_index).to(next(iter(maps.values())).dtype)
        terms: dict[str, Tensor] = {}
        for name, branch in branches.items():
            if branch.supervised:
                each = [self._supervision(maps[at], labels) for at in branch.supervised]
                terms[f'loss_{name}_seg'] = torch.stack(each)
            if branch.students:
                each = [self._divergence(maps[at], maps[branch.teacher], weight) for at in branch.students]
                terms[f'loss_{name}_kl'] = torch.stack(each)
        return terms


@MODELS.register_module()
class DirectDualSelfDistiller(DualSelfDistiller):
    """DualSelfDistiller that computes its terms from whole maps."""

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """See :meth:`DualSelfDistiller.check_models`."""
        super().check_models(student, teacher)
        assert self.terms is not None
        self.terms = DirectTerms(**asdict(self.terms))


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(description='Compare dual self-distillation with plain training and with whole maps')
    built.add_argument('config', help='a config with a DualSelfDistiller at full resolution')
    add_step_options(built, steps=10, warmup=2)
    return built


def arms(config: Config) -> dict[str, Config]:
    """Return the three configs.

    Raises:
        ConfigError: If the config has no DualSelfDistiller, or one that has no direct form.
    """
    ours = distillers_of(config, 'DualSelfDistiller')
    for name, entry in ours.items():
        if entry.get('resolution', 'full') not in ('full', 1):
            raise ConfigError(
                f"{KEY}.{name}.resolution is {entry.resolution}, and whole maps have the labels' size; "
                f'add --cfg-options {KEY}.{name}.resolution=full'
            )
    configs = {arm: copy.deepcopy(config) for arm in ARMS}
    for name in ours:
        configs['plain'].default_hooks.distill.distillers[name] = None
        configs['direct'].default_hooks.distill.distillers[name].type = 'kd_plugins.DirectDualSelfDistiller'
    return configs


def rows(costs: Mapping[str, Cost]) -> list[list[str]]:
    """Return the table's rows: time and memory of each run, and both relative to plain training."""
    base = costs['plain']
    table = []
    for name, cost in costs.items():
        values = [f'{statistics.median(cost.seconds):.3f}', f'{median_ratio(cost.seconds, base.seconds):.3f}']
        values += [f'{median_ratio(cost.processor_seconds, base.processor_seconds):.3f}']
        extra = (cost.peak_bytes - base.peak_bytes) / 2**20
        table.append([name, *values, f'{cost.peak_bytes / 2**20:.1f}', f'{extra:.1f}'])
    return table


def run(args: Namespace) -> dict[str, Any]:
    """Build the three runs, measure and print."""
    config = load_config(args.config, args.cfg_options)
    generated = needs_generated([config], args.generated)
    with ExitStack() as stack:
        runners = {name: stack.enter_context(temporary_runner(arm, generated))[0] for name, arm in arms(config).items()}
        costs = interleave(runners, args.steps, args.warmup)
    device = 'CUDA' if torch.cuda.is_available() else 'CPU'
    headers = ['what', 'step (s)', 'relative', 'processor time, relative', 'peak memory (MiB)', 'more than plain (MiB)']
    print_table(f'{args.steps} interleaved steps ({device})', headers, rows(costs))
    extra = {name: costs[name].peak_bytes - costs['plain'].peak_bytes for name in ('ours', 'direct')}
    numbers: dict[str, Any] = {name: asdict(cost) for name, cost in costs.items()}
    numbers['time_ratio'] = median_ratio(costs['ours'].seconds, costs['plain'].seconds)
    numbers['processor_time_ratio'] = median_ratio(costs['ours'].processor_seconds, costs['plain'].processor_seconds)
    numbers['extra_memory_ratio'] = extra['ours'] / extra['direct'] if extra['direct'] > 0 else float('nan')
    print(f"\nmemory beyond plain training: {numbers['extra_memory_ratio']:.3f} of the direct form's")
    return numbers


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    return benchmark.main(parser(), run, arguments)


if __name__ == '__main__':
    sys.exit(main())
