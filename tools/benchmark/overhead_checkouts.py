"""Compare the cost of distillation of several checkouts of this project.

``overhead_checkouts.py OLD NEW --baseline CONFIG --configs CONFIG ... --frozen`` starts one process per checkout in
turns. Each one trains the baseline and all configs of its own checkout, one step of each in turn on the same batches.
Printed are the medians of the ratios of steps that were taken one after the other, in wall-clock time and in CPU time,
which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from kd_plugins.utils.cli import add_cfg_options

BASELINE = 'baseline'
FROZEN = 'frozen teacher'
Costs = dict[str, dict[str, Any]]
"""Name of an arm to seconds and CPU seconds of its steps and to its peak memory."""


def with_frozen_teacher(config: Any, teacher: str) -> Any:
    """Give a config a frozen teacher with random weights, which takes the time of a trained one."""
    teaching = dict(type='kd_plugins.FrozenTeacher', config=teacher, checkpoint=None)
    config.default_hooks.distill.teacher = teaching
    return config


def measure(args: argparse.Namespace) -> Costs:
    """Measure the arms in this process."""
    from kd_plugins.config.data_checks import needs_generated
    from kd_plugins.config.loading import load_config
    from kd_plugins.profiling.timing import interleave
    from kd_plugins.runner.steps import temporary_runner

    configs = {BASELINE: load_config(args.baseline, args.cfg_options)}
    for path in args.configs:
        configs[Path(path).stem] = load_config(path, args.cfg_options)
    if args.frozen:
        configs[FROZEN] = with_frozen_teacher(load_config(args.configs[0], args.cfg_options), args.baseline)
    generated = needs_generated(configs.values(), args.generated)
    with ExitStack() as stack:
        runners = {name: stack.enter_context(temporary_runner(each, generated))[0] for name, each in configs.items()}
        costs = interleave(runners, args.steps, args.warmup)
    return {name: asdict(cost) for name, cost in costs.items()}


def measured_in(checkout: str, arguments: Sequence[str], threads: int) -> Costs:
    """Measure in a process of its own, with the code and the configs of a checkout."""
    environment = {**os.environ, 'PYTHONPATH': checkout, 'OMP_NUM_THREADS': str(threads)}
    command = [sys.executable, __file__, '--measure', *arguments]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f'error: {checkout}: {done.stderr.strip().splitlines()[-1]}')
    costs: Costs = json.loads(done.stdout.splitlines()[-1])
    return costs


def ratios(rounds: Sequence[Costs], name: str) -> tuple[float, float, float]:
    """Return the ratios of an arm to the baseline, in time, CPU time and peak memory.

    >>> costs = {BASELINE: dict(seconds=[1, 2], processor_seconds=[1, 1], peak_bytes=4)}
    >>> costs['a'] = dict(seconds=[2, 4], processor_seconds=[3, 3], peak_bytes=6)
    >>> ratios([costs], 'a')
    (2.0, 3.0, 1.5)
    """

    def over_steps(kind: str) -> float:
        return median(a / b for costs in rounds for a, b in zip(costs[name][kind], costs[BASELINE][kind]))

    memory = median(costs[name]['peak_bytes'] / costs[BASELINE]['peak_bytes'] for costs in rounds)
    return over_steps('seconds'), over_steps('processor_seconds'), memory


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    built = argparse.ArgumentParser(description='Compare the cost of distillation of several checkouts.')
    built.add_argument('checkouts', nargs='*', metavar='CHECKOUT', help='folders that hold the package and its configs')
    built.add_argument('--baseline', required=True, help='the plain config, relative to each checkout')
    built.add_argument('--configs', nargs='+', required=True, help='the distilled configs')
    built.add_argument('--frozen', action='store_true', help='add the first config with a frozen teacher')
    built.add_argument('--rounds', type=int, default=2, help='processes of each checkout')
    built.add_argument('--steps', type=int, default=10, help='measured steps of each config in a process')
    built.add_argument('--warmup', type=int, default=1, help='steps before measuring')
    built.add_argument('--threads', type=int, default=1, help='CPU threads')
    built.add_argument('--generated', action='store_true', help='use generated data')
    add_cfg_options(built)
    built.add_argument('--measure', action='store_true', help=argparse.SUPPRESS)
    return built


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    args = parser().parse_args(given)
    if args.measure:
        warnings.simplefilter('ignore')
        print(json.dumps(measure(args)))
        return 0
    checkouts = [str(Path(folder).resolve()) for folder in args.checkouts]
    passed = [argument for argument in given if argument not in args.checkouts]
    measured: dict[str, list[Costs]] = {checkout: [] for checkout in checkouts}
    for index in range(args.rounds):
        # The order alternates, because the machine may slow down or speed up.
        for checkout in checkouts if index % 2 == 0 else checkouts[::-1]:
            measured[checkout].append(measured_in(checkout, passed, args.threads))
    print(f'{"config":<28} {"checkout":<28} {"time":>7} {"CPU time":>9} {"memory":>7}')
    for name in (name for name in measured[checkouts[0]][0] if name != BASELINE):
        for checkout, rounds in measured.items():
            time, processor, memory = ratios(rounds, name)
            print(f'{name:<28} {Path(checkout).name:<28} {time:7.3f} {processor:9.3f} {memory:7.3f}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
