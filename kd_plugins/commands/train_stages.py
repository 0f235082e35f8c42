"""Train a chain of stages, each from checkpoints of earlier ones: ``kd_plugins train-stages STAGES``.

STAGES is a config with ``stages=dict(NAME=dict(config=..., takes={KEY: EARLIER_STAGE}, pick='last'), ...)``. What is
finished is kept, what was interrupted goes on, and WORK_DIR/stages.json says what each file was made from.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config.reading import read_config
from ..errors import ConfigError, KDPluginsError, check_known
from ..runner.processes import exclusive, execute, subcommand, train_command
from ..runner.run_log import read_run
from ..stages.checkpoint_selection import best_metrics, resume_point
from ..stages.manifest import (
    UNITS,
    finish,
    first_entry,
    read_manifest,
    set_aside,
    state_of,
    write_config,
    write_manifest,
)
from ..stages.spec import Plan, dependents, make_plan, read_stages, split_options
from ..utils.cli import note, one_sentence, parse, parse_options
from ..utils.tables import print_table


def parser() -> ArgumentParser:
    """Return the parser."""
    found = ArgumentParser(
        prog='kd_plugins train-stages', description='Train a chain of stages, each from checkpoints of earlier ones'
    )
    found.add_argument('config', help='a file with stages=dict(...), or package::path')
    found.add_argument('--work-dir', help='where everything goes; default ./work_dirs/CONFIG_NAME')
    found.add_argument('--only', metavar='STAGE', help='run this stage; those that it takes from have to be finished')
    found.add_argument(
        '--redo', nargs='+', action='extend', default=[], metavar='STAGE',
        help='put what these stages, and all that take from them, have made into WORK_DIR/replaced, and run them again',
    )  # fmt: skip
    found.add_argument(
        '--cfg-options', nargs='+', action='extend', default=[], metavar='[STAGE:]KEY=VALUE',
        help='settings for every stage, or for one',
    )  # fmt: skip
    found.add_argument('--seed', type=int, help='randomness.seed of every stage; default: what each config says')
    found.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm'], default='none',
        help='start each training alone, with torch.distributed.run, or with srun (and SRUN_ARGS)',
    )  # fmt: skip
    found.add_argument('--processes', type=int, default=1, help='of each training, with --launcher pytorch')
    return found


def starter(launcher: str, processes: int) -> list[str]:
    """Return the words that run ``kd_plugins train``, with those of a launcher before them.

    >>> starter('pytorch', 2)[1:]
    ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', '-m', 'kd_plugins', 'train']
    """
    python, *train = subcommand('train')
    if launcher == 'pytorch':
        return [python, '-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}', *train]
    if launcher == 'slurm':
        srun = ['srun', '--kill-on-bad-exit=1', *shlex.split(os.environ.get('SRUN_ARGS', ''))]
        return [*srun, python, '-u', *train]
    return [python, *train]


class Chain:
    """The stages of one folder, with what they have made so far."""

    def __init__(self, plans: Sequence[Plan], work_dir: Path, args: Namespace, held: Sequence[int]) -> None:
        self.plans = {plan.stage.name: plan for plan in plans}
        self.work_dir = work_dir
        self.args = args
        self.held = held
        self.entries = read_manifest(work_dir)

    def write(self) -> None:
        """Write the manifest."""
        names = sorted(self.entries, key=lambda name: list(self.plans).index(name) if name in self.plans else -1)
        write_manifest(self.work_dir, {name: self.entries[name] for name in names}, stages_file=self.args.config)

    def state(self, name: str) -> str:
        """Return what a stage needs."""
        return state_of(self.plans[name], self.entries, self.work_dir)

    def run(self, name: str) -> None:
        """Bring a stage to its end.

        Raises:
            KDPluginsError: If it fails.
        """
        plan, state = self.plans[name], self.state(name)
        if state == 'finished':
            print(f'{name}: finished before', flush=True)
            return
        if state == 'new':
            self.entries[name] = first_entry(plan, self.entries)
        if plan.config is not None and state != 'pick':
            self.train(plan, resume=state == 'resume')
        entry = self.entries[name]
        finish(plan, entry, self.work_dir)
        self.write()
        print(
            f'{name}: {entry["checkpoint"]}, {entry["weights"]} weights -> {self.work_dir / entry["file"]}', flush=True
        )

    def train(self, plan: Plan, resume: bool) -> None:
        """Train a stage, from the start or from where it was interrupted.

        Raises:
            KDPluginsError: If the training fails.
        """
        name, config = plan.stage.name, plan.config
        assert config is not None
        folder, entry = self.work_dir / name, self.entries[name]
        log, begin, point = folder / 'train.log', time.time(), None
        # A start that was killed could not say how long it took.
        if 'started' in entry and log.is_file():
            entry['seconds'] += max(log.stat().st_mtime - entry['started'], 0.0)
        if resume:
            point, settled = resume_point(folder, config, read_run(folder))
            if point is not None and not settled:
                note(f"{name}: the validation after '{point.name}' was cut off and no older checkpoint is there")
        entry.update(status='running', started=begin)
        self.write()
        print(f'{name}: {f"resumed from {point.name}" if point else "started"}, log in {log}', flush=True)
        launcher = ['--launcher', self.args.launcher] if self.args.launcher != 'none' else []
        start = starter(self.args.launcher, self.args.processes)
        command = train_command(
            start, write_config(plan, self.work_dir), folder, str(point) if point else False, launcher
        )
        entry['status'] = 'interrupted'
        try:
            execute(command, log, pass_fds=self.held)
            entry['status'] = 'trained'
        except KDPluginsError as error:
            entry['status'] = 'failed'
            raise KDPluginsError(f"stage '{name}' failed: {error}") from error
        finally:
            del entry['started']
            entry['seconds'] = round(entry['seconds'] + time.time() - begin, 1)
            self.write()


def summary(plan: Plan, entry: dict[str, Any]) -> list[str]:
    """Return a stage's row of the table."""
    metrics = entry.get('metrics') or {}
    named = [name for name in (best_metrics(plan.config) if plan.config else []) if name in metrics]
    shown = [f'{name} {metrics[name]:.4g}' for name in (named or list(metrics))[:1] if metrics[name] is not None]
    length = next((f'{entry[key]} {key}' for key, _ in UNITS.values() if key in entry), '')
    return [
        plan.stage.name,
        plan.stage.config or str(plan.stage.checkpoint),
        length,
        f'{entry["seconds"] / 60:.1f} min' if plan.config else '',
        f'{entry["pick"]}: {entry["checkpoint"]}' if plan.config else '',
        entry['weights'],
        ', '.join(shown),
        entry['sha256'][:12],
    ]


def run_chain(plans: Sequence[Plan], work_dir: Path, args: Namespace, held: Sequence[int]) -> None:
    """Run what is not finished, and show what there is."""
    chain = Chain(plans, work_dir, args, held)
    if args.redo:
        set_aside(work_dir, chain.entries, dependents([plan.stage for plan in plans], args.redo))
        chain.write()
    names = [args.only] if args.only else list(chain.plans)
    if args.only:
        stages = {name: plan.stage for name, plan in chain.plans.items()}
        for source in stages[args.only].takes.values():
            if chain.state(source) != 'finished':
                raise ConfigError(f"--only {args.only} takes from '{source}', which is not finished; run that first")
    for name in names:
        chain.state(name)  # what must not go on is said before anything is trained
    for name in names:
        chain.run(name)
    rows = [summary(plan, chain.entries[name]) for name, plan in chain.plans.items() if name in names]
    headers = ['stage', 'trained', 'length', 'time', 'picked', 'weights', 'metric', 'sha256']
    print_table(f'Stages of {args.config}', headers, rows)
    print(f'\nwritten: {work_dir / "stages.json"}, {", ".join(f"{row[0]}.pth" for row in rows)}')


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the chain; return the exit status."""
    args = parse(parser(), arguments)
    if args.processes != 1 and args.launcher != 'pytorch':
        parser().error(f'--processes {args.processes} needs --launcher pytorch')
    # Whoever ends this process ends the training that it waits for as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with one_sentence():
        if int(os.environ.get('WORLD_SIZE', '1')) > 1:
            raise ConfigError(
                'kd_plugins train-stages runs once, not on every rank: it starts the processes of each training '
                'itself, with --launcher pytorch --processes N'
            )
        stages = read_stages(read_config(args.config), args.config)
        names = [stage.name for stage in stages]
        for option, given in (('--only', [args.only] if args.only else []), ('--redo', args.redo)):
            for name in given:
                check_known(option, name, names)
        options = {name: parse_options(own) for name, own in split_options(args.cfg_options, names).items()}
        seed = {} if args.seed is None else {'randomness.seed': args.seed}
        plans = [make_plan(stage, {**options[stage.name], **seed}) for stage in stages]
        work_dir = Path(args.work_dir or Path('work_dirs') / Path(args.config).stem)
        with exclusive(work_dir) as held:
            try:
                run_chain(plans, work_dir, args, held)
            except KeyboardInterrupt:
                same = 'the same command, without --redo,' if args.redo else 'the same command'
                print(f'interrupted; {same} goes on from the newest checkpoint', file=sys.stderr)
                return 130
    return 0
