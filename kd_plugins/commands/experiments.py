"""Run experiments by their protocols: ``kd_plugins experiments results/NAME/protocol.py ... --jobs 2``.

A protocol names arms, seeds, metrics and refutation before anything runs. The command trains and tests what is not
finished, first seeds of all experiments first; the same command goes on where it was stopped.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from ..comparison.experiment import Experiment, Task
from ..comparison.experiment_report import with_conclusion, write_experiment
from ..comparison.overview import updated
from ..comparison.protocol import read_protocol
from ..comparison.queue import in_turn, perform, to_run
from ..comparison.recording import adopt, record_lines
from ..comparison.records import read_values
from ..utils.cli import one_sentence, parse, whole_number
from ..utils.files import write_atomically
from ..utils.tables import print_table


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(prog='kd_plugins experiments', description='Train and test the arms of protocols')
    built.add_argument('protocols', nargs='*', metavar='PROTOCOL', help='results/NAME/protocol.py')
    built.add_argument('--work-dir', type=Path, default=Path('work_dirs/experiments'), help='folder of all runs')
    built.add_argument(
        '--jobs', type=whole_number(1), default=1, help='trainings at once; more than one get one CPU thread each'
    )
    built.add_argument('--arms', nargs='+', default=[], help='only these arms and the teachers that they need')
    built.add_argument('--report', action='store_true', help='train nothing, write tables, curves, logs and pages')
    built.add_argument('--pages', type=Path, help='folder of the pages, NAME.md; default: page.md beside the protocol')
    built.add_argument(
        '--adopt', action='store_true', help='take the runs of a results.json without records as runs of the protocol'
    )
    built.add_argument(
        '--overview',
        type=Path,
        metavar='PAGE',
        help='train nothing, renew the table of all methods in a page',
    )
    built.add_argument('--results', type=Path, default=Path('results'), help='folder of all results, for --overview')
    built.add_argument('--list', action='store_true', help='train nothing, show the state of every run')
    return built


def state_of(task: Task, running: Sequence[Task]) -> str:
    """Return the state of a run as it is listed.

    Args:
        task: The run.
        running: The runs that have to be made.
    """
    state = task.state()
    if state == 'recorded':
        again = 'on record, trained again because another run needs its checkpoint'
        return again if task in running else 'finished, from the committed record'
    if state == 'left out':
        return task.run().state if task in running else f'not made, {task.left_out}'
    return state if state == 'finished' or task in running else 'not needed'


def different(paths: Sequence[str]) -> list[str]:
    """Return each file once: ``results/first/protocol.py results/*/protocol.py`` names the first one twice."""
    files: dict[Path, str] = {}
    for path in paths:
        files.setdefault(Path(path).resolve(), path)
    return list(files.values())


def planned(experiments: Sequence[Experiment]) -> list[Task]:
    """Return the runs of all experiments that are due, in their turn, with the seeds that their results ask for."""
    return in_turn([experiment.tasks(experiment.due()) for experiment in experiments])


def tell(experiment: Experiment) -> None:
    """Print which runs come from the committed record, and which teachers were lost."""
    for line in record_lines(experiment, experiment.tasks(experiment.seeds())):
        print(f'{experiment.protocol.name}: {line}')


def write_page(experiment: Experiment, pages: Path | None, text: str) -> None:
    """Write the page of an experiment.

    Args:
        experiment: The experiment.
        pages: Folder of the pages; ``None`` for each beside its protocol.
        text: The page.
    """
    path = experiment.folder / 'page.md' if pages is None else pages / f'{experiment.protocol.name}.md'
    write_atomically(path, text.encode())
    print(f'written: {path}')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is not finished; return the exit status."""
    built = parser()
    args = parse(built, arguments)
    if bool(args.protocols) == bool(args.overview):
        built.error('give protocols, results/NAME/protocol.py, or --overview PAGE')
    failures: list[str] = []
    with one_sentence('the same command goes on from the newest checkpoints'):
        if args.overview:
            page = updated(args.overview.read_text(encoding='utf-8'), args.results)
            write_atomically(args.overview, page.encode())
            print(f'written: {args.overview}')
            return 0
        experiments = []
        for protocol in map(read_protocol, different(args.protocols)):
            if protocol.stopped and not (args.report or args.adopt):
                print(f'{protocol.name}: stopped: {protocol.stopped}')
            else:
                experiments.append(Experiment(protocol, args.work_dir, () if args.report or args.adopt else args.arms))
        if args.adopt:
            for experiment in experiments:
                print(f'{experiment.protocol.name}: {adopt(experiment)}')
                write_page(experiment, args.pages, with_conclusion(experiment, read_values(experiment.folder)))
            return 0
        if args.report:
            for experiment in experiments:
                tell(experiment)
                write_page(experiment, args.pages, write_experiment(experiment))
            return 0
        for experiment in experiments:
            tell(experiment)
        if args.list:
            tasks = in_turn([experiment.tasks(experiment.seeds()) for experiment in experiments])
            running = to_run(tasks)
            print_table('runs', ['run', 'state'], [[task.name, state_of(task, running)] for task in tasks])
            return 0
        tasks = planned(experiments)
        while not failures and to_run(tasks):
            failures = perform(tasks, args.jobs)
            if not failures:
                tasks = planned(experiments)  # with further seeds, where the first ones leave a contrast undecided
    for sentence in failures:
        print(f'error: {sentence}', file=sys.stderr)
    return 2 if failures else 0
