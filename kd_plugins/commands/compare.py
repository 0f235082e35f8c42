"""Compare configs over seeds: ``kd_plugins compare BASELINE DISTILLED --seeds 0 1 2``.

Trains what is missing (one folder per run, WORK_DIR/CONFIG_NAME/seed_S; interrupted runs are resumed, finished ones
kept), then prints and writes the table, every value, the curves and compact logs.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..checkpoints import latest_checkpoint
from ..comparison.plan import Arm, Run, check_fingerprint, make_arm, plan_runs, train_command
from ..comparison.report import compare, markdown, plot_curves, table_of, verdict
from ..config.data_checks import check_data
from ..config.loading import load_config
from ..errors import KDPluginsError
from ..runner.processes import execute, subcommand
from ..runner.run_log import RunLog, compact_lines, read_run, read_test, without_nan
from ..utils.cli import one_sentence, parse, parse_options
from ..utils.tables import print_table


def parser() -> ArgumentParser:
    """Return the parser."""
    found = ArgumentParser(
        prog='kd_plugins compare', description='Train configs over several seeds and compare their metrics'
    )
    found.add_argument('baseline', help='the config to compare with')
    found.add_argument('distilled', nargs='+', help='one config or more')
    found.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2], help='values of randomness.seed')
    found.add_argument('--work-dir', default='work_dirs/compare', help='folder of all runs')
    found.add_argument('--metric', default='coco/bbox_mAP', help='the metric that heads table and curves')
    found.add_argument(
        '--test-last', action='store_true', help="measure the last checkpoints on the config's test data"
    )
    found.add_argument('--jobs', type=int, default=1, help='trainings at once; more than one get one CPU thread each')
    found.add_argument('--report-only', action='store_true', help='train nothing, report what is finished')
    found.add_argument('--out', help='folder of the report; default WORK_DIR/report')
    found.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='settings for every run')
    return found


def perform(run: Run, args: Namespace, position: str) -> str | None:
    """Train one run and, where wanted, test its last checkpoint; return what went wrong."""
    name = f'{position} {run.arm.name} seed {run.seed}'
    try:
        if run.state != 'finished':
            print(
                f'{name}: {"resumed" if run.state == "resume" else "started"}, log in {run.folder / "train.log"}',
                flush=True,
            )
            start = time.monotonic()
            command = train_command(run, args.cfg_options)
            execute(command, run.folder / 'train.log', args.jobs)
            print(f'{name}: finished in {(time.monotonic() - start) / 60:.1f} min', flush=True)
        else:
            print(f'{name}: finished before', flush=True)
        if args.test_last and not read_test(run.folder / 'test'):
            checkpoint = latest_checkpoint(run.folder)
            if checkpoint is None:
                return f"{name}: '{run.folder}' holds no readable checkpoint to test"
            command = [*subcommand('test'), run.arm.path, checkpoint]
            command += ['--work-dir', str(run.folder / 'test')]
            execute(
                command + (['--cfg-options', *args.cfg_options] if args.cfg_options else []),
                run.folder / 'test.log',
                args.jobs,
            )
    except KDPluginsError as error:
        return f'{name}: {error}'
    return None


def report(arms: list[Arm], args: Namespace) -> None:
    """Read the finished runs, print the tables and write the report."""
    finished = [run for run in plan_runs(arms, args.seeds, args.work_dir) if run.state == 'finished']
    logs: dict[str, dict[int, RunLog]] = {arm.name: {} for arm in arms}
    tested: dict[str, dict[int, dict[str, float]]] = {arm.name: {} for arm in arms}
    for run in finished:
        metrics = read_test(run.folder / 'test') if args.test_last else {}
        if args.test_last and not metrics:
            continue
        logs[run.arm.name][run.seed] = read_run(run.folder)
        tested[run.arm.name][run.seed] = metrics
    result = compare(logs, args.metric, tested if args.test_last else None)
    out = Path(args.out or Path(args.work_dir) / 'report')
    (out / 'logs').mkdir(parents=True, exist_ok=True)
    classes = [name for name in result['arms'][arms[0].name] if name.endswith('_precision')]
    plot_curves(logs, [args.metric, *classes[:3]], out / 'curves.png')
    for name, runs in logs.items():
        for seed, log in runs.items():
            lines = compact_lines(log)
            (out / 'logs' / f'{name}_seed_{seed}.jsonl').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    result['configs'] = {arm.name: arm.path for arm in arms}
    result['cfg_options'] = args.cfg_options
    (out / 'results.json').write_text(json.dumps(without_nan(result), indent=2) + '\n', encoding='utf-8')
    page = markdown(result, f'{args.metric} of {", ".join(arm.name for arm in arms)}', result['configs'], 'curves.png')
    (out / 'table.md').write_text(page, encoding='utf-8')
    for arm in arms[1:]:
        print_table(f'{arm.name} against {arms[0].name}', *table_of(result, arm.name))
        print(f'\n{verdict(result, arm.name)}.')
    print(f'\nwritten: {out / "table.md"}, results.json, curves.png, logs/')


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, compare, report; return the exit status."""
    args = parse(parser(), arguments)
    failures: list[str] = []
    with one_sentence():
        arms = []
        for path in [args.baseline, *args.distilled]:
            config = load_config(path, parse_options(args.cfg_options))
            if not args.report_only:
                check_data(config)
            arms.append(make_arm(path, config))
        runs = plan_runs(arms, args.seeds, args.work_dir)
        if not args.report_only:
            for run in runs:
                check_fingerprint(run.folder, run.arm)
            with ThreadPoolExecutor(max(args.jobs, 1)) as pool:
                jobs = [
                    pool.submit(perform, run, args, f'[{index}/{len(runs)}]') for index, run in enumerate(runs, start=1)
                ]
                failures = [text for text in (job.result() for job in jobs) if text is not None]
        for text in failures:
            print(f'error: {text}', file=sys.stderr)
        report(arms, args)
    return 2 if failures else 0
