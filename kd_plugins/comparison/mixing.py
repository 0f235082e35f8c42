"""Mixing weight of the distilled arms of a comparison, from the last checkpoints of both arms of each seed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import KDPluginsError
from ..runner.processes import execute, subcommand
from .members import DISTILLED, Member
from .plan import last_checkpoint, run_folder
from .statistics import summarize

FILE = 'mixing_weight.json'
"""File in the folder of a distilled run that ``kd_plugins mixing-weight`` has written."""


def mixing_notes(
    members: Sequence[Member], seeds_of: Mapping[str, Sequence[int]], work_dir: Path, options: Sequence[str], jobs: int
) -> list[str]:
    """Measure what is missing, and return one sentence for each distilled arm, without its full stop.

    Args:
        members: The members of the comparison, baseline first.
        seeds_of: Arm to its finished seeds.
        work_dir: Folder of all runs.
        options: ``KEY=VALUE`` settings of every run.
        jobs: How many processes run at once.

    Raises:
        KDPluginsError: If a checkpoint is missing, or the outputs of the arms cannot be mixed.
    """
    notes = []
    for member in members[1:]:
        seeds = seeds_of.get(member.arm.name, ())
        if member.kind != DISTILLED or not seeds:
            continue
        values = [_measure(members[0], member, seed, work_dir, options, jobs) for seed in seeds]
        found = [value for value in values if value is not None]
        if not found:
            notes.append(f'{member.arm.name} gives the same outputs as the baseline, so it has no mixing weight')
            continue
        summary = summarize(found)
        deviation = '' if math.isnan(summary.deviation) else f' ± {summary.deviation:.3f}'
        notes.append(
            f'the closed-form mixing weight of {member.arm.name} is {summary.mean:.3f}{deviation} over {len(found)} '
            'seeds: the task_weight of a further generation that it estimates'
        )
    return notes


def _measure(
    base: Member, member: Member, seed: int, work_dir: Path, options: Sequence[str], jobs: int
) -> float | None:
    """Return the mixing weight of one seed, ``None`` where both outputs are equal."""
    folder = run_folder(work_dir, member.arm.name, seed)
    path = folder / FILE
    if not path.is_file():
        checkpoints = []
        for arm, place in ((base.arm, run_folder(work_dir, base.arm.name, seed)), (member.arm, folder)):
            checkpoint = last_checkpoint(place, arm.filename_tmpl)
            if checkpoint is None:
                raise KDPluginsError(f"--mixing-weight: '{place}' holds no readable checkpoint")
            checkpoints.append(str(checkpoint))
        words = ['--out', str(path), '--work-dir', str(folder / 'mixing')]
        settings = ['--cfg-options', *options] if options else []
        command = [*subcommand('mixing-weight'), base.arm.path, *checkpoints, *words, *settings]
        execute(command, folder / 'mixing.log', jobs)
    value = json.loads(path.read_text(encoding='utf-8'))['mixing_weight']
    return None if value is None else float(value)
