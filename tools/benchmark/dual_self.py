"""Measure what dual self-distillation costs: ``python tools/benchmark/dual_self.py CONFIG``.

Three runs of one config are built in one process and their steps taken in turn, on the same batches:

* ``plain``: without its DualSelfDistiller,
* ``ours``: as it is,
* ``direct``: with the same terms from whole maps, as the released code computes them: every head's logits at the size
  of the labels, a probability map and a one-hot map for each Dice term, both distributions anew for each divergence.
"""

from __future__ import annotations

import copy
import json
import statistics
import sys
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn

from kd_plugins.adapters import LevelHeads
from kd_plugins.cli import add_cfg_options, note, one_sentence, parse
from kd_plugins.distillers import DualSelfDistiller
from kd_plugins.distillers._level_terms import Branch, LevelTerms
from kd_plugins.engine import check_data, load_config
from kd_plugins.engine.steps import temporary_runner
from kd_plugins.engine.timing import Cost, interleave
from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.tables import print_table

ARMS = ('plain', 'ours', 'direct')


class DirectTerms(LevelTerms):
    """The terms of one process from whole maps."""

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
        branches: Mapping[str, Branch],
        logits: Mapping[int, Tensor],
        labels: Tensor | None,
        size: tuple[int, ...],
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
    """DualSelfDistiller with all maps at once."""

    def bind(self, student: nn.Module, teacher: nn.Module) -> None:
        """See :meth:`DualSelfDistiller.bind`."""
        super().bind(student, teacher)
        assert self.terms is not None
        self.terms = DirectTerms(**asdict(self.terms))


def parser() -> ArgumentParser:
    """Return the parser."""
    found = ArgumentParser(description='Compare dual self-distillation with plain training and with whole maps')
    found.add_argument('config', help='a config with a DualSelfDistiller at full resolution')
    found.add_argument('--steps', type=int, default=10, help='measured steps of each')
    found.add_argument('--warmup', type=int, default=2, help='steps of each before measuring')
    found.add_argument('--generated', action='store_true', help='use generated data even where the data set exists')
    found.add_argument('--out', help='write the numbers to this JSON file')
    add_cfg_options(found)
    return found


def arms(config: Config) -> dict[str, Config]:
    """Return the three configs.

    Raises:
        ConfigError: If the config has no DualSelfDistiller, or one that has no direct form.
    """
    key = 'default_hooks.distill.distillers'
    distillers = (config.default_hooks.get('distill') or {}).get('distillers') or {}
    ours = [name for name, found in distillers.items() if found and str(found.type).endswith('.DualSelfDistiller')]
    if not ours:
        raise ConfigError(f"{key} has no 'kd_plugins.DualSelfDistiller'; give a config that has one")
    for name in ours:
        if distillers[name].get('resolution', 'full') not in ('full', 1):
            raise ConfigError(
                f"{key}.{name}.resolution is {distillers[name].resolution}, and whole maps have the labels' size; "
                f'add --cfg-options {key}.{name}.resolution=full'
            )
    found = {arm: copy.deepcopy(config) for arm in ARMS}
    for name in ours:
        found['plain'].default_hooks.distill.distillers[name] = None
        found['direct'].default_hooks.distill.distillers[name].type = 'kd_plugins.DirectDualSelfDistiller'
    return found


def rows(costs: Mapping[str, Cost]) -> list[list[str]]:
    """Return the table's rows: time and memory of each run, and both relative to plain training."""
    base = costs['plain']
    found = []
    for name, cost in costs.items():
        values = [f'{statistics.median(cost.seconds):.3f}', f'{ratio(cost.seconds, base.seconds):.3f}']
        values += [f'{ratio(cost.processor_seconds, base.processor_seconds):.3f}']
        extra = (cost.peak_bytes - base.peak_bytes) / 2**20
        found.append([name, *values, f'{cost.peak_bytes / 2**20:.1f}', f'{extra:.1f}'])
    return found


def ratio(ours: list[float], base: list[float]) -> float:
    """Return the median ratio of neighbouring steps.

    >>> ratio([1.2, 9.0, 1.2], [1.0, 6.0, 1.0])
    1.2
    """
    return statistics.median(a / b for a, b in zip(ours, base))


def run(args: Namespace) -> dict[str, Any]:
    """Build the three runs, measure and print."""
    config = load_config(args.config, args.cfg_options)
    generated = args.generated
    if not generated:
        try:
            check_data(config, ('train_dataloader',))
        except ConfigError as error:
            note(f'{error}; generated data is used instead')
            generated = True
    with ExitStack() as stack:
        runners = {
            name: stack.enter_context(temporary_runner(found, generated))[0] for name, found in arms(config).items()
        }
        costs = interleave(runners, args.steps, args.warmup)
    device = 'CUDA' if torch.cuda.is_available() else 'CPU'
    headers = ['what', 'step (s)', 'relative', 'processor time, relative', 'peak memory (MiB)', 'more than plain (MiB)']
    print_table(f'{args.steps} interleaved steps ({device})', headers, rows(costs))
    extra = {name: costs[name].peak_bytes - costs['plain'].peak_bytes for name in ('ours', 'direct')}
    numbers: dict[str, Any] = {name: asdict(cost) for name, cost in costs.items()}
    numbers['time_ratio'] = ratio(costs['ours'].seconds, costs['plain'].seconds)
    numbers['processor_time_ratio'] = ratio(costs['ours'].processor_seconds, costs['plain'].processor_seconds)
    numbers['extra_memory_ratio'] = extra['ours'] / extra['direct'] if extra['direct'] > 0 else float('nan')
    print(f"\nmemory beyond plain training: {numbers['extra_memory_ratio']:.3f} of the direct form's")
    return numbers


def main() -> None:
    """Measure and print."""
    args = parse(parser())
    warnings.simplefilter('ignore')
    with one_sentence():
        if args.steps < 1 or args.warmup < 1:
            raise ConfigError(f'--steps is {args.steps} and --warmup {args.warmup}; both must be at least 1')
        numbers = run(args)
        if args.out:
            Path(args.out).parent.mkdir(parents=True, exist_ok=True)
            Path(args.out).write_text(json.dumps(numbers, indent=2) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
