"""Measure DWPose's second stage: ``python tools/benchmark/second_stage.py STAGE2_CONFIG --student CONFIG``.

Three runs are built in one process. Their steps alternate, on the same batches: the plain training of the
student, its second stage with kd_plugins, and MMPose's ``DWPoseDistiller`` in its second stage from the same student
config. MMPose's teacher is put into eval mode, which its own training loop does not do, so that both compute the same.
"""

from __future__ import annotations

import copy
import statistics
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook

from kd_plugins.config.data_checks import needs_generated
from kd_plugins.config.loading import load_config
from kd_plugins.profiling import benchmark
from kd_plugins.profiling.benchmark import add_step_options
from kd_plugins.profiling.timing import Cost, interleave, median_ratio
from kd_plugins.runner.steps import temporary_runner
from kd_plugins.utils.tables import print_table

NAMES = {'plain': 'plain training', 'ours': 'second stage, kd_plugins', 'mmpose': 'second stage, DWPoseDistiller'}


class TeacherInEvalMode(Hook):
    """Put the teacher inside MMPose's distiller back into eval mode before every step."""

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """See MMEngine's ``Hook``."""
        runner.model.teacher.eval()


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(description="Compare the second stage's step with plain training and with MMPose's")
    built.add_argument('config', help='the second stage')
    built.add_argument('--student', required=True, help='the plain config of the same student')
    built.add_argument('--batch-size', type=int, help='images per step; default: the config')
    add_step_options(built, steps=10, warmup=2)
    return built


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
    table = []
    for name, cost in costs.items():
        table.append(
            [
                NAMES[name],
                f'{statistics.median(cost.seconds):.4f}',
                f'{median_ratio(cost.seconds, base.seconds):.3f}',
                f'{cost.peak_bytes / 2**20:.1f}',
                f'{cost.peak_bytes / base.peak_bytes:.3f}',
            ]
        )
    return table


def run(args: Namespace) -> dict[str, Any]:
    """Build the three runs, measure and print."""
    student, config = (load_config(path, args.cfg_options) for path in (args.student, args.config))
    generated = needs_generated([student], args.generated)
    with ExitStack() as stack:
        runners = {}
        for name, source in (('plain', student), ('ours', config), ('mmpose', student)):
            arm = copy.deepcopy(source)
            arm.load_from = None
            if args.batch_size:
                arm.train_dataloader.batch_size = args.batch_size
            runner, _ = stack.enter_context(temporary_runner(arm, generated))
            if name == 'mmpose':
                prepared = distiller_config(runner.cfg, Path(runner.work_dir))
                runner, _ = stack.enter_context(temporary_runner(prepared, False))
                runner.register_hook(TeacherInEvalMode())
            runners[name] = runner
        costs = interleave(runners, args.steps, args.warmup)
    title = f'{args.steps} interleaved steps of {runners["plain"].cfg.train_dataloader.batch_size} images'
    print_table(title, ['what', 'step (s)', 'relative', 'peak memory (MiB)', 'relative'], rows(costs))
    ours, theirs = costs['ours'], costs['mmpose']
    against = median_ratio(ours.seconds, theirs.seconds)
    print(f"\nagainst MMPose's: {against:.3f} in time, {ours.peak_bytes / theirs.peak_bytes:.3f} in memory")
    return {name: asdict(cost) for name, cost in costs.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    return benchmark.main(parser(), run, arguments)


if __name__ == '__main__':
    sys.exit(main())
