"""Train a chain of stages, each from checkpoints of earlier ones: ``kd_plugins train-stages STAGES``.

STAGES is a config with ``stages=dict(NAME=dict(config=..., takes={KEY: EARLIER_STAGE}, pick='last'), ...)``. Finished
stages are kept, an interrupted one continues, and WORK_DIR/stages.json records what each file was made from.
"""

from __future__ import annotations

import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from ..config.reading import read_config
from ..errors import ConfigError
from ..runner.processes import exclusive
from ..stages.chain import HEADERS, Chain
from ..stages.spec import Plan, make_plan, read_stages, split_options
from ..utils.checks import check_choice
from ..utils.cli import SEED, one_sentence, parse, parse_options, whole_number
from ..utils.tables import print_table


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins train-stages', description='Train a chain of stages, each from checkpoints of earlier ones'
    )
    built.add_argument('config', help='a file with stages=dict(...), or package::path')
    built.add_argument('--work-dir', help='where everything goes; default ./work_dirs/CONFIG_NAME')
    built.add_argument('--only', metavar='STAGE', help='run this stage; those that it takes from have to be finished')
    built.add_argument(
        '--redo', nargs='+', action='extend', default=[], metavar='STAGE',
        help='put what these stages, and all that take from them, have made into WORK_DIR/replaced, and run them again',
    )  # fmt: skip
    built.add_argument(
        '--cfg-options', nargs='+', action='extend', default=[], metavar='[STAGE:]KEY=VALUE',
        help='settings for every stage, or for one',
    )  # fmt: skip
    built.add_argument('--seed', type=SEED, help='randomness.seed of every stage; default: what each config says')
    built.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm'], default='none',
        help='start each training alone, with torch.distributed.run, or with srun (and SRUN_ARGS)',
    )  # fmt: skip
    built.add_argument('--processes', type=whole_number(1), default=1, help='of each training, with --launcher pytorch')
    return built


def read_plans(args: Namespace) -> list[Plan]:
    """Return the stages with their settings.

    Raises:
        KDPluginsError: If one of them could not run.
    """
    stages = read_stages(read_config(args.config), args.config)
    names = [stage.name for stage in stages]
    for option, given in (('--only', [args.only] if args.only else []), ('--redo', args.redo)):
        for name in given:
            check_choice(option, name, names)
    options = {name: parse_options(own) for name, own in split_options(args.cfg_options, names).items()}
    seed = {} if args.seed is None else {'randomness.seed': args.seed}
    return [make_plan(stage, {**options[stage.name], **seed}) for stage in stages]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the chain; return the exit status."""
    args = parse(parser(), arguments)
    if args.processes != 1 and args.launcher != 'pytorch':
        parser().error(f'--processes {args.processes} needs --launcher pytorch')
    # A signal that ends this process also ends the training that it waits for.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with one_sentence():
        if int(os.environ.get('WORLD_SIZE', '1')) > 1:
            raise ConfigError(
                'kd_plugins train-stages runs once, not on every rank: it starts the processes of each training '
                'itself, with --launcher pytorch --processes N'
            )
        plans = read_plans(args)
        work_dir = Path(args.work_dir or Path('work_dirs') / Path(args.config).stem)
        with exclusive(work_dir) as held:
            try:
                chain = Chain(plans, work_dir, args.config, args.launcher, args.processes, held)
                if args.redo:
                    chain.redo(args.redo)
                names = chain.run(args.only)
            except KeyboardInterrupt:
                same = 'the same command, without --redo,' if args.redo else 'the same command'
                print(f'interrupted; {same} goes on from the newest checkpoint', file=sys.stderr)
                return 130
            print_table(f'Stages of {args.config}', HEADERS, [chain.summary(name) for name in names])
            print(f'\nwritten: {work_dir / "stages.json"}, {", ".join(f"{name}.pth" for name in names)}')
    return 0
