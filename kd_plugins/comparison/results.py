"""Results of a comparison: the runs that count, the comparison of their metrics, and what the page says about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ConfigError, nearest
from ..runner.run_log import RunLog
from .cost import cost_of, place_of_most
from .entries import evaluated_weights
from .folder import is_in_folder, read_finished, states_of, with_points
from .members import Member
from .plan import Arm, plan_runs
from .records import Recorded, Records
from .report import compare
from .rounds import unsettled


@dataclass(frozen=True)
class Settings:
    """Settings of a comparison.

    Attributes:
        members: Baseline first.
        seeds: Values of ``randomness.seed``.
        more_seeds: Further seeds of undecided arms.
        work_dir: Folder of all runs.
        metrics: Metrics of the page; the first one decides.
        test_last: Whether the tests of the last checkpoints count.
        against: Arms to compare with, besides the baseline.
        contrasts: Pairs that decide on the further seeds, see :func:`~kd_plugins.comparison.rounds.unsettled`. With
            them, the further seeds of other arms count as well, as soon as one pair needs them.
        records: Committed records of runs with the present settings.
    """

    members: Sequence[Member]
    seeds: Sequence[int]
    more_seeds: Sequence[int]
    work_dir: Path
    metrics: Sequence[str]
    test_last: bool = False
    against: Sequence[str] = ()
    contrasts: Sequence[tuple[str, str]] | None = None
    records: Records = field(default_factory=dict)

    @property
    def arms(self) -> list[Arm]:
        """The arms, baseline first."""
        return [member.arm for member in self.members]

    def taken(self) -> dict[str, dict[int, Recorded]]:
        """Return the records of the runs whose folders do not hold a finished run."""
        chosen: dict[str, dict[int, Recorded]] = {}
        for arm in self.arms:
            records = self.records.get(arm.name, {})
            for run in plan_runs([arm], sorted(records), self.work_dir):
                if not is_in_folder(run, self.test_last):
                    chosen.setdefault(arm.name, {})[run.seed] = records[run.seed]
        return chosen

    def compared(self, seeds_of: Mapping[str, Sequence[int]]) -> tuple[dict[str, Any], dict[str, dict[int, RunLog]]]:
        """Compare the finished runs of some seeds.

        Args:
            seeds_of: Arm to seeds.

        Returns:
            The result, and the logs by arm and seed.

        Raises:
            ConfigError: If nothing can be compared.
        """
        every = sorted({seed for seeds in seeds_of.values() for seed in seeds})
        logs, tested = read_finished(self.arms, every, self.work_dir, self.test_last, self.taken())
        for table in (logs, tested or {}):
            for arm, seeds in seeds_of.items():
                for seed in set(table.get(arm, {})) - set(seeds):
                    del table[arm][seed]  # type: ignore[attr-defined]
        return compare(logs, self.metrics[0], tested, self.against), logs

    def undecided(self) -> list[Arm]:
        """Return the arms that need the further seeds, by the finished runs of the first seeds."""
        if not self.more_seeds:
            return []
        result, _ = self.compared({arm.name: self.seeds for arm in self.arms})
        names = unsettled(result, self.seeds, self.contrasts)
        return [arm for arm in self.arms if arm.name in names]


def collect(
    settings: Settings, points: bool, ratios: Mapping[str, float], notes: Sequence[str]
) -> tuple[dict[str, Any], dict[str, dict[int, RunLog]], dict[str, Any]]:
    """Compare all finished runs and describe the arms.

    Args:
        settings: The settings.
        points: Whether metrics between 0 and 1 are shown as points.
        ratios: Arm to its measured step time as a multiple of the baseline's.
        notes: Sentences for the page, without their full stops.

    Returns:
        The result, the logs by arm and seed, and the further entries of ``results.json``.

    Raises:
        ConfigError: If nothing can be compared, or a metric is in no log.
    """
    undecided = {arm.name for arm in settings.undecided()}
    further = {arm.name for arm in settings.arms} if undecided and settings.contrasts is not None else undecided
    seeds_of = {
        arm.name: [*settings.seeds, *(settings.more_seeds if arm.name in further else ())] for arm in settings.arms
    }
    result, logs = settings.compared(seeds_of)
    logged = result['arms'][result['baseline']]
    for name in settings.metrics:
        if name not in logged:
            raise ConfigError(f"--metric: '{name}' is not in the logs of every run; {nearest(name, logged)}")
    if points:
        result = with_points(result)
    about, runs, taken = {}, {}, settings.taken()
    preferred = place_of_most(result['seeds_of'], settings.work_dir, taken)
    missing = settings.arms[0].name
    base = next(arm for arm in settings.arms if arm.name == result['baseline'])
    if base.name != missing:
        notes = [
            *notes,
            f'{missing}, the baseline, has no finished seed in common with another arm yet, so the differences are '
            f'those to {base.name}',
        ]
    for member in settings.members:
        arm, config = member.arm, member.config
        wanted = seeds_of[arm.name] if arm.name in undecided else settings.seeds
        shown = [seed for seed in seeds_of[arm.name] if seed in wanted or seed in logs[arm.name]]
        runs.update(states_of([arm], shown, settings.work_dir, taken, settings.test_last))
        ratio = ratios.get(arm.name, 1.0 if arm is base else None)
        about[arm.name] = {
            'kind': member.kind,
            'text': member.text,
            'remarks': list(member.remarks),
            'weights': evaluated_weights(config),
            **cost_of(arm, base, result['seeds_of'].get(arm.name, []), settings.work_dir, ratio, taken, preferred),
        }
    compared = {seed for own in result['seeds_of'].values() for seed in own}
    extra = {
        'shown': list(settings.metrics),
        'points': result.get('points', []),
        'about': about,
        'runs': runs,
        'notes': list(notes),
        'added_seeds': [seed for seed in settings.more_seeds if seed in compared],
        'configs': {member.arm.name: config_path(member, settings.work_dir) for member in settings.members},
    }
    return result, logs, extra


def config_path(member: Member, work_dir: Path) -> str:
    """Return the path of a config as a page shows it: as given, or relative to the folder of the comparison."""
    path = Path(member.arm.path)
    return path.relative_to(work_dir).as_posix() if member.text and path.is_relative_to(work_dir) else member.arm.path
