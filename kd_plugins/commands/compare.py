"""Compare configs over seeds: ``kd_plugins compare BASELINE DISTILLED --seeds 0 1 2``.

Trains the missing runs (one folder per run, WORK_DIR/CONFIG_NAME/seed_S; interrupted runs are resumed, finished ones
kept), then prints the table and writes it with all values, curves and compact logs. Controls, and a plain arm that
costs as much as a distilled one, are further arms.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from ..comparison.calibration import PICTURE, write_reliability
from ..comparison.controls import CONTROLS
from ..comparison.entries import check_weights, evaluated_weights
from ..comparison.equal import Equal, make_equal
from ..comparison.execution import perform_all
from ..comparison.folder import write_report
from ..comparison.members import BASELINE, DISTILLED, Member, make_controls
from ..comparison.mixing import mixing_notes
from ..comparison.page import page
from ..comparison.pilot import pilot_sentence
from ..comparison.plan import check_fingerprint, make_arm, plan_runs, run_folder
from ..comparison.report import table_of, verdict
from ..comparison.results import Settings, collect
from ..comparison.rounds import next_seeds
from ..config.data_checks import check_classes, check_data, training_loaders
from ..config.loading import load_config
from ..evaluation.calibration import ERROR
from ..runner.launch import check_parts
from ..utils.checks import check_choice
from ..utils.cli import SEED, note, one_sentence, parse, parse_options, whole_number
from ..utils.files import write_atomically
from ..utils.tables import print_table
from .test import check_testable


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins compare', description='Train configs over several seeds and compare their metrics'
    )
    built.add_argument('baseline', help='the config to compare with')
    built.add_argument('distilled', nargs='+', help='one config or more')
    built.add_argument('--seeds', nargs='+', type=SEED, default=[0, 1, 2], help='values of randomness.seed')
    built.add_argument(
        '--more-seeds', nargs='*', type=SEED, help='for arms that are better and undecided; default: the next two'
    )
    built.add_argument(
        '--equal', choices=['epochs', 'compute'], default='epochs', help='compute: add a plain arm of the same cost'
    )
    built.add_argument('--count-teacher', metavar='CONFIG', help='with --equal compute: count this training as well')
    built.add_argument('--control', nargs='+', choices=list(CONTROLS), default=[], help='controls as further arms')
    built.add_argument('--against', nargs='+', default=[], metavar='ARM', help='arms to compare with as well')
    built.add_argument('--mixed-weights', action='store_true', help='allow averaged weights in some arms only')
    built.add_argument('--pilot', metavar='PATH', help='results.json of an earlier comparison, for the power')
    built.add_argument('--work-dir', default='work_dirs/compare', help='folder of all runs')
    built.add_argument(
        '--metric', nargs='+', default=['coco/bbox_mAP'], help='the first heads table and curves, the page shows all'
    )
    built.add_argument('--points', action='store_true', help='show metrics between 0 and 1 as points')
    built.add_argument(
        '--test-last', action='store_true', help="measure the last checkpoints on the config's test data"
    )
    built.add_argument(
        '--calibration', action='store_true', help='--test-last, with calibration/error and a reliability diagram'
    )
    built.add_argument(
        '--mixing-weight', action='store_true', help='of segmentors: print the mixing weight of each distilled arm'
    )
    built.add_argument(
        '--jobs', type=whole_number(1), default=1, help='trainings at once; more than one get one CPU thread each'
    )
    built.add_argument('--report-only', action='store_true', help='train nothing, report what is finished')
    built.add_argument('--out', help='folder of the report; default WORK_DIR/report')
    built.add_argument('--page', metavar='FILE', help='write a Markdown page of all arms')
    built.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='settings for every run')
    return built


def given(args: Namespace) -> list[Member]:
    """Return the given configs as members of the comparison, baseline first."""
    members: list[Member] = []
    for path in [args.baseline, *args.distilled]:
        config = load_config(path, parse_options(args.cfg_options))
        if not args.report_only:
            check_data(config)
            check_classes(config, training_loaders(config))
            if args.test_last:
                check_testable(config, path, args.calibration)
        arm = make_arm(path, config, options=args.cfg_options)
        runs = [] if args.report_only else plan_runs([arm], args.seeds, args.work_dir)
        if any(run.state != 'finished' for run in runs):
            check_parts(config, path)
        members.append(Member(arm, config, DISTILLED if members else BASELINE))
    return members


def complete(args: Namespace, members: list[Member], seeds: Sequence[int]) -> tuple[list[Member], Equal, list[str]]:
    """Return the given members with controls and arms of equal compute, and the notes about them.

    Args:
        args: The arguments.
        members: Of :func:`given`.
        seeds: All seeds that may be trained.
    """
    work_dir = Path(args.work_dir)
    controls, refused = make_controls(members, args.control, work_dir)
    for sentence in refused:
        note(sentence)
    members = [*members, *controls]
    if not args.mixed_weights:
        check_weights([(member.arm.name, evaluated_weights(member.config)) for member in members])
    check_folders(members, seeds, work_dir)
    equal = Equal()
    if args.equal == 'compute':
        equal = make_equal(members, work_dir, args.count_teacher, None if args.report_only else args.jobs)
    check_folders(equal.members, seeds, work_dir)
    members = [*members, *equal.members]
    for name in args.against:
        check_choice('--against', name, [member.arm.name for member in members[1:]])
    return members, equal, [*equal.notes, *refused]


def check_folders(members: Sequence[Member], seeds: Sequence[int], work_dir: Path) -> None:
    """Refuse repeated seeds, and a folder with results of other settings."""
    for run in plan_runs([member.arm for member in members], seeds, work_dir):
        check_fingerprint(run.folder, run.arm)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, compare, report; return the exit status."""
    built = parser()
    args = parse(built, arguments)
    if args.count_teacher and args.equal != 'compute':
        built.error('--count-teacher counts only with --equal compute')
    if args.calibration:
        args.test_last = True
        args.metric = list(dict.fromkeys([*args.metric, ERROR]))
    failures: list[str] = []
    with one_sentence('the same command goes on from the newest checkpoints'):
        more = next_seeds(args.seeds) if args.more_seeds is None else args.more_seeds
        members, equal, notes = complete(args, given(args), [*args.seeds, *more])
        arms = [member.arm for member in members]
        if args.pilot:
            notes.append(pilot_sentence(args.pilot, args.metric[0], len(args.seeds)))
            note(notes[-1])
        settings = Settings(members, args.seeds, more, Path(args.work_dir), args.metric, args.test_last, args.against)
        how = args.jobs, args.test_last, args.calibration
        if not args.report_only:
            failures = perform_all(plan_runs(arms, args.seeds, args.work_dir), [], *how)
            undecided = [] if failures else settings.undecided()
            if undecided:
                print(f'more seeds ({", ".join(map(str, more))}) for {", ".join(arm.name for arm in undecided)}')
                failures = perform_all(plan_runs(undecided, more, args.work_dir), [], *how)
        for sentence in failures:
            print(f'error: {sentence}', file=sys.stderr)
        result, logs, about = collect(settings, args.points, equal.ratios, notes)
        if args.mixing_weight:
            where = Path(args.work_dir), args.cfg_options, args.jobs
            about['notes'] += mixing_notes(members, result['seeds_of'], *where)
        for sentence in about['notes'][len(notes) :]:
            note(sentence)
        out = Path(args.out or Path(args.work_dir) / 'report')
        values = write_report(out, result, logs, about.pop('configs'), args.cfg_options, about)
        if args.calibration:
            folders = {
                arm: {seed: run_folder(args.work_dir, arm, seed) for seed in own}
                for arm, own in result['seeds_of'].items()
            }
            write_reliability(folders, out / PICTURE)
        for arm in list(result['arms'])[1:]:
            print_table(f'{arm} against {result["baseline"]}', *table_of(result, arm))
            print(f'\n{verdict(result, arm)}.')
        for reference, others in result['against'].items():
            for arm in others:
                print(f'{verdict(result, arm, reference)}.')
        print(f'\nwritten: {out / "table.md"}, results.json, curves.png, logs/')
        if args.page:
            write_atomically(Path(args.page), page(values).encode())
            print(f'written: {args.page}')
    return 2 if failures else 0
