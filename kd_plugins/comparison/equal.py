"""Equal compute: plain trainings that are as much longer as distilled ones cost more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from ..config.loading import load_config
from ..errors import ConfigError, KDPluginsError
from ..runner.processes import HASH_LENGTH, config_hash, training_length
from .cost import step_ratio
from .members import DISTILLED, EQUAL_COMPUTE, Member, written
from .schedule import stretch
from .teacher_controls import frozen_teachers


@dataclass
class Equal:
    """Plain arms of equal compute.

    Attributes:
        members: The arms.
        ratios: Distilled arm to the time of its step as a multiple of the baseline's.
        notes: What was counted, one sentence each without its full stop.
    """

    members: list[Member] = field(default_factory=list)
    ratios: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def make_equal(members: Sequence[Member], work_dir: Path, counted: str | None = None, jobs: int | None = 1) -> Equal:
    """Make a plain arm for each distilled one whose training costs more than the baseline's.

    Its length is that of the distilled training times the ratio of the steps, plus the training of a teacher where it
    is counted, rounded up.

    Args:
        members: The baseline and the distilled configs.
        work_dir: Folder of the comparison.
        counted: Config of a teacher whose training is counted.
        jobs: See :func:`~kd_plugins.comparison.cost.step_ratio`.

    Raises:
        ConfigError: If two lengths cannot be compared, or a teacher is counted and no arm has a frozen one.
        KDPluginsError: If a measurement fails.
    """
    base, distilled = members[0], [member for member in members if member.kind == DISTILLED]
    unit, before = training_length(base.config)
    equal = Equal()
    taught = {member.arm.name: _teachers(member.config) for member in distilled}
    if counted is not None and not any(taught.values()):
        raise ConfigError(f"--count-teacher is '{counted}', and no distilled config has a kd_plugins.FrozenTeacher")
    for member in distilled:
        name = member.arm.name
        hashes = (base.arm.fingerprint, member.arm.fingerprint)
        ratio = step_ratio(name, member.config, base.config, hashes, work_dir, jobs)
        equal.ratios[name] = ratio
        length = comparable_length(member.config, base.config) * ratio
        text = f'the training of {name}, whose step takes {ratio:.3f} times as long'
        for path in taught[name] if counted is None else []:
            equal.notes.append(_report_teacher(name, path, base, work_dir, jobs))
        if counted is not None and taught[name]:
            extra = teacher_length(counted, base, work_dir, jobs)
            length += extra
            text += f', and the training of the teacher, worth {extra:.1f} {unit}s of the baseline'
            equal.notes.append(f"the training of the teacher '{counted}' is counted for {name}: {extra:.1f} {unit}s")
        after = math.ceil(round(length, 6))
        if after <= before:
            equal.notes.append(
                f'{name} has no longer baseline: its training costs as much as {length:.2f} {unit}s of the baseline, '
                f'which has {before}'
            )
            continue
        arm_name = f'{base.arm.name}_equal-compute'
        if len(distilled) > 1:
            arm_name += f'_{name}'
        config, remarks = stretch(base.config, after)
        arm, config = written(config, arm_name, work_dir)
        text = f'the baseline with {after} {unit}s instead of {before}, as much as {text}'
        equal.members.append(Member(arm, config, EQUAL_COMPUTE, text, tuple(remarks)))
    return equal


def comparable_length(config: Config, baseline: Config) -> float:
    """Return the length of a training in epochs, or in iterations of the baseline's batch size.

    Raises:
        ConfigError: If both count different units.

    >>> big, small = ({'train_cfg': {'max_iters': 10}, 'train_dataloader': {'batch_size': size}} for size in (4, 2))
    >>> comparable_length(Config(big), Config(small))
    20.0
    """
    (unit, _), (own_unit, length) = training_length(baseline), training_length(config)
    if own_unit != unit:
        raise ConfigError(
            f'--equal compute: the baseline counts {unit}s and another training counts {own_unit}s, so their lengths '
            'cannot be compared; give both max_epochs or both max_iters'
        )
    sizes = [int((one.get('train_dataloader') or {}).get('batch_size') or 1) for one in (config, baseline)]
    return float(length) if unit == 'epoch' else length * sizes[0] / sizes[1]


def teacher_length(path: str, base: Member, work_dir: Path, jobs: int | None) -> float:
    """Return the training of a teacher in epochs or iterations of the baseline.

    Args:
        path: Its config.
        base: The baseline.
        work_dir: Folder of the comparison.
        jobs: See :func:`~kd_plugins.comparison.cost.step_ratio`.

    Raises:
        KDPluginsError: If its config cannot be trained or measured.
    """
    config = load_config(path)
    length = comparable_length(config, base.config)
    hashes = (base.arm.fingerprint, config_hash(config)[:HASH_LENGTH])
    return length * step_ratio(f'teacher_{Path(path).stem}', config, base.config, hashes, work_dir, jobs)


def _teachers(config: Config) -> list[str]:
    """Return the configs of the frozen teachers that a distilled config names by path."""
    try:
        teachers = frozen_teachers(config)
    except ConfigError:
        return []
    return list(dict.fromkeys(str(one['config']) for one in teachers.values() if isinstance(one['config'], str)))


def _report_teacher(name: str, path: str, base: Member, work_dir: Path, jobs: int | None) -> str:
    unit, _ = training_length(base.config)
    try:
        cost = f'worth {teacher_length(path, base, work_dir, jobs):.1f} {unit}s of the baseline'
    except KDPluginsError as error:
        cost = f'of unknown cost ({error})'
    return f"the training of the teacher '{path}' of {name}, {cost}, is not counted"
