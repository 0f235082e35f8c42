"""Measure the cost of distillation: ``kd_plugins overhead CONFIG --baseline CONFIG``.

Both configs are built in one process and trained on the same batches. Their steps alternate, so that other work on the
machine slows both alike. Every distiller runs in every step, even if its schedule starts later. A step is forward,
backward, optimizer and all hooks, without data loading.
"""

from __future__ import annotations

import statistics
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

import torch

from ..config.data_checks import needs_generated
from ..config.loading import load_config
from ..profiling import benchmark
from ..profiling.benchmark import add_step_options
from ..profiling.timing import Cost, interleave, median_ratio
from ..runner.steps import temporary_runner
from ..utils.cli import OptionsAction
from ..utils.tables import print_table


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(prog='kd_plugins overhead', description='Compare step time and peak memory of two configs')
    built.add_argument('config', help='the distilled config')
    built.add_argument('--baseline', required=True, help='the config to compare with')
    add_step_options(built, steps=20, warmup=3)
    built.add_argument(
        '--baseline-cfg-options',
        nargs='*',
        action=OptionsAction,
        metavar='KEY=VALUE',
        help='change settings of the baseline, in place of --cfg-options, which changes both; no value changes none',
    )
    return built


def summarize(ours: Cost, baseline: Cost) -> dict[str, float]:
    """Return medians and ratios of what :func:`~kd_plugins.profiling.timing.interleave` gave."""
    return {
        'distilled_step_s': statistics.median(ours.seconds),
        'baseline_step_s': statistics.median(baseline.seconds),
        'time_ratio_of_medians': statistics.median(ours.seconds) / statistics.median(baseline.seconds),
        'time_median_of_ratios': median_ratio(ours.seconds, baseline.seconds),
        'distilled_peak_mib': ours.peak_bytes / 2**20,
        'baseline_peak_mib': baseline.peak_bytes / 2**20,
        'memory_ratio': ours.peak_bytes / baseline.peak_bytes,
    }


def run(args: Namespace) -> dict[str, float]:
    """Build both configs, measure and print."""
    base_options = args.cfg_options if args.baseline_cfg_options is None else args.baseline_cfg_options
    configs = [load_config(args.baseline, base_options), load_config(args.config, args.cfg_options)]
    generated = needs_generated(configs, args.generated)
    with temporary_runner(configs[0], generated) as (baseline, _), temporary_runner(configs[1], generated) as (ours, _):
        costs = interleave({'baseline': baseline, 'distilled': ours}, args.steps, args.warmup)
    numbers = summarize(costs['distilled'], costs['baseline'])
    rows = [
        [
            'step, median (s)',
            f'{numbers["baseline_step_s"]:.4f}',
            f'{numbers["distilled_step_s"]:.4f}',
            f'{numbers["time_ratio_of_medians"]:.3f}',
        ],
        ['step, median of ratios', '', '', f'{numbers["time_median_of_ratios"]:.3f}'],
        [
            'peak memory (MiB)',
            f'{numbers["baseline_peak_mib"]:.1f}',
            f'{numbers["distilled_peak_mib"]:.1f}',
            f'{numbers["memory_ratio"]:.3f}',
        ],
    ]
    title = f'Overhead over {args.steps} interleaved steps ({"CUDA" if torch.cuda.is_available() else "CPU"})'
    print_table(title, ['what', 'baseline', 'distilled', 'ratio'], rows)
    return numbers


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    return benchmark.main(parser(), run, arguments)
