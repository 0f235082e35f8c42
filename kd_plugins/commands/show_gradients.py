"""Compare the gradients of distillation terms with that of the task: ``kd_plugins show gradients CONFIG``.

For each module of the student: the gradient of every term at its largest weight, as a multiple of the task's, and the
cosine between both. A large term with a cosine near 0 or below slows the task in that module: give it a smaller weight,
a shorter schedule, or other taps. ``--checkpoint`` measures in the middle of a run, with its teacher and heads.
"""

from __future__ import annotations

import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from ..checkpoints import load_checkpoint
from ..config.data_checks import needs_generated
from ..config.hook_entries import distill_entry
from ..config.loading import load_config
from ..diagnostics.alignment import Alignment, Rows, conflict, total
from ..diagnostics.gradients import measure
from ..errors import ConfigError
from ..runner.steps import temporary_runner
from ..runner.weights import check_weights
from ..utils.cli import add_cfg_options, one_sentence, parse
from ..utils.tables import print_table


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins show gradients',
        description='Compare the gradients of distillation terms with that of the task',
    )
    built.add_argument('config', help='a config with a DistillHook')
    built.add_argument('--checkpoint', help='one of its own checkpoints; by default the first step')
    built.add_argument('--batches', type=int, default=4, help='batches to add up')
    built.add_argument('--depth', type=int, default=2, help='parts of a path that name a module')
    built.add_argument('--generated', action='store_true', help='use generated data even where the data set exists')
    add_cfg_options(built)
    return built


def cell(seen: Alignment) -> str:
    """Return size and cosine of an alignment.

    >>> cell(Alignment(task=4.0, term=1.0, dot=-1.0)), cell(Alignment(task=4.0))
    ('0.50 (-0.50)', '-')
    """
    return f'{seen.size:.2f} ({seen.cosine:+.2f})' if seen.term and seen.task else '-'


def show(terms: dict[str, Rows], batches: int) -> None:
    """Print the table, and a note for each term with a gradient conflict."""
    names = {term: term.removeprefix('distill.') for term in terms}
    modules = dict.fromkeys(module for rows in terms.values() for module in rows)
    lines = [[module, *(cell(terms[term][module]) for term in names)] for module in modules]
    lines.append(['all', *(cell(total(terms[term].values())) for term in names)])
    title = f"Gradient of each term relative to the task's, and cosine between both ({batches} batches)"
    print_table(title, ['module', *names.values()], lines)
    print()
    for term, name in names.items():
        module = conflict(terms[term])
        if module is not None:
            seen = terms[term][module]
            print(
                f"note: in '{module}', {name} is {seen.size:.1f} times the task's gradient with a cosine of "
                f'{seen.cosine:+.2f}; a smaller weight would slow the task less'
            )


def run(args: Namespace) -> None:
    """Measure and print.

    Raises:
        ConfigError: If an option is out of range, or the config has no distiller.
    """
    if args.batches < 1 or args.depth < 1:
        raise ConfigError(f'--batches is {args.batches} and --depth {args.depth}; both must be at least 1')
    config = load_config(args.config, args.cfg_options)
    if not distill_entry(config):
        raise ConfigError("default_hooks has no 'distill', so there is no term to compare; give a config that has one")
    checkpoint = None if args.checkpoint is None else load_checkpoint(args.checkpoint)
    with temporary_runner(config, needs_generated([config], args.generated)) as (runner, _):
        if checkpoint is not None:
            check_weights(runner.model, checkpoint, args.checkpoint)
        show(measure(runner, args.checkpoint, args.batches, args.depth), args.batches)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    args = parse(parser(), arguments)
    warnings.simplefilter('ignore')
    with one_sentence():
        run(args)
    return 0
