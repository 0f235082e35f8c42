"""Measure DWPose's second stage: ``python tools/benchmark/second_stage.py STAGE2_CONFIG --student CONFIG``.

Three runs are built in one process and their steps taken in turn, on the same batches: the plain training of the
student, its second stage with kd_plugins, and MMPose's ``DWPoseDistiller`` in its second stage from the same student
config. MMPose's teacher is put into eval mode, which its own training loop does not do, so that both compute the same.
"""

from __future__ import annotations

import copy
import json
import statistics
import sys
import warnings
from argparse import ArgumentParser, Namespace
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmengine.config import Config
from mmengine.hooks import Hook

from kd_plugins.cli import add_cfg_options, note, one_sentence, parse
from kd_plugins.engine import check_data, load_config
from kd_plugins.engine.steps import temporary_runner
from kd_plugins.engine.timing import Cost, interleave
from kd_plugins.errors import ConfigError
from kd_plugins.tables import print_table

NAMES = {'plain': 'plain training', 'ours': 'second stage, kd_plugins', 'mmpose': 'second stage, DWPoseDistiller'}


class TeacherInEvalMode(Hook):
    """Put the teacher inside MMPose's distiller back into eval mode before every step."""

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """See MMEngine's ``Hook``."""
        runner.model.teacher.eval()


def parser() -> ArgumentParser:
    """Return the parser."""
    found = ArgumentParser(description="Compare the second stage's step with plain training and with MMPose's")
    found.add_argument('config', help='the second stage')
    found.add_argument('--student', required=True, help='the plain config of the same student')
    found.add_argument('--steps', type=int, default=10, help='measured steps of each')
    found.add_argument('--warmup', type=int, default=2, help='steps of each before measuring')
    found.add_argument('--batch-size', type=int, help='images per step; default: the config')
    found.add_argument('--generated', action='store_true', help='use generated images even where the data set exists')
    found.add_argument('--out', help='write the numbers to this JSON file')
    add_cfg_options(found)
    return found


def distiller_config(student: Config, folder: Path) -> Config:
    """Return the student's config with MMPose's distiller in its second stage for a model.

    Args:
        student: The plain config.
        folder: Where the config that the distiller reads is written.
    """
    path = folder / 'student.py'
    Config({'model': student.model.to_dict()}).dump(path)
    config = copy.deepcopy(student)
    loss = dict(type='KDLoss', name='loss_logit', use_this=True, weight=1.0)
    config.model = dict(
        type='mmpose.DWPoseDistiller',
        teacher_cfg=str(path),
        student_cfg=str(path),
        two_dis=True,
        distill_cfg=[dict(methods=[loss])],
        data_preprocessor=student.model.data_preprocessor,
    )
    # It keeps a backbone that never gets a gradient.
    config.find_unused_parameters = True
    return config


def rows(costs: dict[str, Cost]) -> list[list[str]]:
    """Return the table's rows: time and memory, and both relative to plain training."""
    base = costs['plain']
    found = []
    for name, cost in costs.items():
        ratio = statistics.median(a / b for a, b in zip(cost.seconds, base.seconds))
        found.append(
            [
                NAMES[name],
                f'{statistics.median(cost.seconds):.4f}',
                f'{ratio:.3f}',
                f'{cost.peak_bytes / 2**20:.1f}',
                f'{cost.peak_bytes / base.peak_bytes:.3f}',
            ]
        )
    return found


def run(args: Namespace) -> dict[str, Cost]:
    """Build the three runs, measure and print."""
    student, config = (load_config(path, args.cfg_options) for path in (args.student, args.config))
    generated = args.generated
    if not generated:
        try:
            check_data(student, ('train_dataloader',))
        except ConfigError as error:
            note(f'{error}; generated images are used instead')
            generated = True
    with ExitStack() as stack:
        runners = {}
        for name, found in (('plain', student), ('ours', config), ('mmpose', student)):
            found = copy.deepcopy(found)
            found.load_from = None
            if args.batch_size:
                found.train_dataloader.batch_size = args.batch_size
            runner, _ = stack.enter_context(temporary_runner(found, generated))
            if name == 'mmpose':
                prepared = distiller_config(runner.cfg, Path(runner.work_dir))
                runner, _ = stack.enter_context(temporary_runner(prepared, False))
                runner.register_hook(TeacherInEvalMode())
            runners[name] = runner
        costs = interleave(runners, args.steps, args.warmup)
    title = f'{args.steps} interleaved steps of {runners["plain"].cfg.train_dataloader.batch_size} images'
    print_table(title, ['what', 'step (s)', 'relative', 'peak memory (MiB)', 'relative'], rows(costs))
    ours, theirs = costs['ours'], costs['mmpose']
    against = statistics.median(a / b for a, b in zip(ours.seconds, theirs.seconds))
    print(f"\nagainst MMPose's: {against:.3f} in time, {ours.peak_bytes / theirs.peak_bytes:.3f} in memory")
    return costs


def main() -> None:
    """Measure and print."""
    args = parse(parser())
    warnings.simplefilter('ignore')
    with one_sentence():
        if args.steps < 1 or args.warmup < 1:
            raise ConfigError(f'--steps is {args.steps} and --warmup {args.warmup}; both must be at least 1')
        costs = run(args)
        if args.out:
            Path(args.out).parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({name: vars(cost) for name, cost in costs.items()}, indent=2)
            Path(args.out).write_text(text + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
