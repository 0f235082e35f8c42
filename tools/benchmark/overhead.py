"""Measure what distillation costs: ``python tools/benchmark/overhead.py CONFIG --baseline CONFIG``.

Both configs are built in one process and trained on the same batches, their steps taken in turn, so that whatever else
the machine does meets both. Every distiller runs in every step, even where its schedule starts later. A step is
forward, backward, optimizer and all hooks, without data loading.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import warnings
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from kd_plugins.cli import add_cfg_options, note, one_sentence, parse
from kd_plugins.engine import check_data, load_config
from kd_plugins.engine.memory import peak_bytes
from kd_plugins.engine.steps import batches, copy_batch, distill_hook, drive, temporary_runner, train_step
from kd_plugins.errors import ConfigError
from kd_plugins.tables import print_table


def parser() -> ArgumentParser:
    """Return the parser."""
    found = ArgumentParser(description='Compare step time and peak memory of two configs')
    found.add_argument('config', help='the distilled config')
    found.add_argument('--baseline', required=True, help='the config to compare with')
    found.add_argument('--steps', type=int, default=20, help='measured steps of each')
    found.add_argument('--warmup', type=int, default=3, help='steps of each before measuring')
    found.add_argument('--generated', action='store_true', help='use generated images even where the data set exists')
    found.add_argument('--out', help='write the numbers to this JSON file')
    add_cfg_options(found)
    return found


def timed_step(runner: Any, index: int, batch: Any) -> float:
    """Run one step on a copy of the batch and return its seconds."""
    mine = copy_batch(batch)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    train_step(runner, index, mine)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(distilled: Any, baseline: Any, steps: int, warmup: int) -> dict[str, Any]:
    """Interleave the steps of two runners and return times and peak bytes.

    Args:
        distilled: Runner of the distilled config.
        baseline: Runner of the baseline.
        steps: Measured steps of each.
        warmup: Steps of each before that.
    """
    times: dict[str, list[float]] = {'distilled': [], 'baseline': []}
    peaks: dict[str, int] = {}
    hook = distill_hook(distilled)
    if hook is not None:
        hook.force = True
    arms = {'baseline': baseline, 'distilled': distilled}

    def body() -> None:
        shared = batches(baseline, 4)
        for index in range(warmup + steps):
            # The order alternates: whoever goes second finds warmer caches.
            for name in list(arms) if index % 2 == 0 else list(arms)[::-1]:
                seconds = timed_step(arms[name], index, shared[index % len(shared)])
                if index >= warmup:
                    times[name].append(seconds)
        for name, runner in arms.items():
            # One step of counting takes several times as long as a plain one, so it is not timed.
            batch = copy_batch(shared[0])
            peaks[name] = peak_bytes(runner, partial(train_step, runner, warmup + steps, batch))

    drive(baseline, lambda: drive(distilled, body))
    return {'times': times, 'peak_bytes': peaks}


def summarize(found: dict[str, Any]) -> dict[str, float]:
    """Return medians and ratios of what :func:`measure` gave."""
    ours, theirs = found['times']['distilled'], found['times']['baseline']
    return {
        'distilled_step_s': statistics.median(ours),
        'baseline_step_s': statistics.median(theirs),
        'time_ratio_of_medians': statistics.median(ours) / statistics.median(theirs),
        'time_median_of_ratios': statistics.median(a / b for a, b in zip(ours, theirs)),
        'distilled_peak_mib': found['peak_bytes']['distilled'] / 2**20,
        'baseline_peak_mib': found['peak_bytes']['baseline'] / 2**20,
        'memory_ratio': found['peak_bytes']['distilled'] / found['peak_bytes']['baseline'],
    }


def run(args: Namespace) -> dict[str, float]:
    """Build both configs, measure and print."""
    configs = [load_config(path, args.cfg_options) for path in (args.baseline, args.config)]
    generated = args.generated
    if not generated:
        try:
            for config in configs:
                check_data(config, ('train_dataloader',))
        except ConfigError as error:
            note(f'{error}; generated images are used instead')
            generated = True
    with temporary_runner(configs[0], generated) as (baseline, _), temporary_runner(configs[1], generated) as (ours, _):
        numbers = summarize(measure(ours, baseline, args.steps, args.warmup))
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
