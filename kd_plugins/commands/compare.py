"""Compare configs over seeds: ``kd_plugins compare BASELINE DISTILLED --seeds 0 1 2``.

Trains the missing runs (one folder per run, WORK_DIR/CONFIG_NAME/seed_S; interrupted runs are resumed, finished ones
kept), then prints the table and writes it with all values, curves and compact logs.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from ..comparison.execution import perform_all
from ..comparison.folder import read_finished, write_report
from ..comparison.plan import check_fingerprint, make_arm, plan_runs
from ..comparison.report import compare, table_of, verdict
from ..config.data_checks import check_data
from ..config.loading import load_config
from ..utils.cli import one_sentence, parse, parse_options
from ..utils.tables import print_table


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins compare', description='Train configs over several seeds and compare their metrics'
    )
    built.add_argument('baseline', help='the config to compare with')
    built.add_argument('distilled', nargs='+', help='one config or more')
    built.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2], help='values of randomness.seed')
    built.add_argument('--work-dir', default='work_dirs/compare', help='folder of all runs')
    built.add_argument('--metric', default='coco/bbox_mAP', help='the metric that heads table and curves')
    built.add_argument(
        '--test-last', action='store_true', help="measure the last checkpoints on the config's test data"
    )
    built.add_argument('--jobs', type=int, default=1, help='trainings at once; more than one get one CPU thread each')
    built.add_argument('--report-only', action='store_true', help='train nothing, report what is finished')
    built.add_argument('--out', help='folder of the report; default WORK_DIR/report')
    built.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='settings for every run')
    return built


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, compare, report; return the exit status."""
    args = parse(parser(), arguments)
    failures: list[str] = []
    with one_sentence('the same command goes on from the newest checkpoints'):
        arms = []
        for path in [args.baseline, *args.distilled]:
            config = load_config(path, parse_options(args.cfg_options))
            if not args.report_only:
                check_data(config)
            arms.append(make_arm(path, config))
        runs = plan_runs(arms, args.seeds, args.work_dir)
        for run in runs:
            check_fingerprint(run.folder, run.arm)
        if not args.report_only:
            failures = perform_all(runs, args.cfg_options, args.jobs, args.test_last)
        for sentence in failures:
            print(f'error: {sentence}', file=sys.stderr)
        logs, tested = read_finished(arms, args.seeds, args.work_dir, args.test_last)
        result = compare(logs, args.metric, tested)
        out = Path(args.out or Path(args.work_dir) / 'report')
        write_report(out, result, logs, {arm.name: arm.path for arm in arms}, args.cfg_options)
        for arm in arms[1:]:
            print_table(f'{arm.name} against {arms[0].name}', *table_of(result, arm.name))
            print(f'\n{verdict(result, arm.name)}.')
        print(f'\nwritten: {out / "table.md"}, results.json, curves.png, logs/')
    return 2 if failures else 0
