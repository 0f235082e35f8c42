"""Check a config on one batch before training: ``kd_plugins preflight CONFIG``.

Prints each tap with its shapes, each loss with its value, weight and gradient on the student, and the weights that were
loaded into the teacher. Exits with 1 if a run would be silently wrong, with 2 if it would not start. Writes nothing.
"""

from __future__ import annotations

import warnings
from argparse import ArgumentParser
from collections.abc import Sequence

from mmengine.config import Config

from ..config.data_checks import check_classes, check_data, needs_generated, training_loaders
from ..config.hook_entries import distill_entry
from ..config.loading import class_name, load_config
from ..config.second_stage import check_second_stage
from ..data_checks import check_data_files
from ..diagnostics.preflight import inspect
from ..diagnostics.preflight_terms import Preflight
from ..hooks.data_files import is_checked
from ..runner.steps import temporary_runner
from ..utils.cli import add_cfg_options, one_sentence, parse
from ..utils.tables import print_table


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins preflight', description='Run one batch and show mistakes that a training would not report'
    )
    built.add_argument('config', help='config file, or package::path of an installed OpenMMLab package')
    built.add_argument('--generated', action='store_true', help='use generated data even where the data set exists')
    add_cfg_options(built)
    return built


def show(result: Preflight) -> None:
    """Print the tables."""
    if result.taps:
        print_table('Taps', ['path', 'student', 'teacher'], result.taps)
    task = sum(result.task.values())
    rows = [[name, f'{value:.4g}', '', '', '', ''] for name, value in result.task.items()]
    rows.append(['task, all', f'{task:.4g}', '1', f'{task:.4g}', '1', f'{result.task_gradient:.3g}'])
    for term in result.terms:
        weight = f'{term.peak:g}' if term.weight == term.peak else f'{term.weight:g} (later {term.peak:g})'
        rows.append(
            [
                term.name,
                f'{term.raw:.4g}',
                weight,
                f'{term.peak * term.raw:.4g}',
                f'{term.ratio:.3g}',
                f'{term.gradient:.3g}',
            ]
        )
    headers = ['loss', 'raw', 'weight', 'weighted', 'ratio to task', 'gradient on student']
    print_table('Losses (weighted and ratio at the largest weight, gradient of the raw value)', headers, rows)
    if result.teacher:
        print_table('Teacher', ['what', 'found'], result.teacher)
    print()


def check_files(config: Config, loaders: tuple[str, ...]) -> list[str]:
    """Check the files of the data sets that a training reads; return remarks.

    Raises:
        ConfigError: If a file is missing, or what it holds would stop a training or make its metrics wrong.
    """
    check_data(config, loaders)
    return check_data_files(config, loaders) if is_checked(config) else []


def main(arguments: Sequence[str] | None = None) -> int:
    """Check; return the exit status."""
    args = parse(parser(), arguments)
    warnings.simplefilter('ignore')
    with one_sentence():
        config = load_config(args.config, args.cfg_options)
        check_second_stage(config)
        used = training_loaders(config)
        check_classes(config, used)
        generated = needs_generated([config], args.generated)
        file_remarks = [] if generated else check_files(config, used)
        with temporary_runner(config, generated) as (runner, remarks):
            result = inspect(runner, generated)
        show(result)
        if not distill_entry(config):
            kind = class_name(config.model)
            ours = f', but for what {kind} brings itself' if kind.startswith(('FDR', 'DFINE')) else ''
            result.remarks.append(f"default_hooks has no 'distill': this config trains without distillation{ours}")
        for remark in [*file_remarks, *remarks, *result.remarks]:
            print(f'note: {remark}')
        for problem in result.problems:
            print(f'PROBLEM: {problem}')
        outcome = 'preflight failed' if result.problems else 'preflight passed'
        print(f'{outcome}, on generated data: no file of the data sets was looked at' if generated else outcome)
    return int(bool(result.problems))
