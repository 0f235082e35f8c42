"""Experiment: the runs that a protocol describes, and their place in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..config.loading import load_config
from ..errors import ConfigError
from ..evaluation.calibration import ERROR
from ..runner.resume import newest_named
from ..utils.cli import parse_options
from .calibration import lacks_test
from .fingerprints import settings_hash, weights_hash
from .folder import is_in_folder
from .layers import LAYERS
from .members import BASELINE, Member
from .plan import Arm, Run, check_fingerprint, last_checkpoint, make_arm, plan_runs, run_folder
from .protocol import Protocol, Training
from .records import KEY, Recorded, read_records, read_values
from .results import Settings
from .rounds import behind

ARM, TEACHER = 'arm', 'teacher'
BY_RULE, DECIDED = 'by the stop rule', 'because its contrasts are decided'
TEACHER_SEED = 0
DONE = ('finished', 'recorded', 'left out')
"""States of tasks whose numbers are there, or will never be."""


@dataclass(frozen=True)
class Task:
    """One training with its test.

    Attributes:
        protocol: Its experiment.
        training: Its config.
        arm: The same for the functions of a comparison.
        seed: ``randomness.seed``.
        root: Folder of the experiment's runs.
        record: The committed record of this run, where its settings are the present ones.
        left_out: Why the run is not made, as a clause; empty where it is.
    """

    protocol: Protocol
    training: Training
    arm: Arm
    seed: int
    root: Path
    record: Recorded | None = None
    left_out: str = ''

    @property
    def folder(self) -> Path:
        """The run's work_dir."""
        return run_folder(self.root, self.arm.name, self.seed)

    @property
    def name(self) -> str:
        """Name in printed lines."""
        return f'{self.protocol.name}: {self.arm.name} seed {self.seed}'

    @property
    def lacks_test(self) -> bool:
        """Whether the last checkpoint has still to be measured; a teacher's is not."""
        wanted = self.protocol.test_last and not self.training.teacher
        return wanted and lacks_test(self.folder, self.protocol.calibration)

    @property
    def lacks_layers(self) -> bool:
        """Whether the decoder layers of the last checkpoint have still to be measured; a teacher's are not."""
        wanted = self.protocol.layers and not self.training.teacher
        return wanted and not (self.folder / LAYERS).is_file()

    def run(self) -> Run:
        """Return the run in its present state."""
        return plan_runs([self.arm], [self.seed], self.root)[0]

    def finished(self) -> bool:
        """Return whether the training and its tests have left their metrics."""
        return self.run().state == 'finished' and not self.lacks_test and not self.lacks_layers

    def from_record(self) -> bool:
        """Return whether the committed record stands for the run, because its folder does not hold it."""
        return self.record is not None and not is_in_folder(self.run(), self.protocol.test_last)

    def state(self) -> str:
        """Return ``'finished'``, ``'recorded'``, ``'left out'``, ``'unmeasured'``, ``'resume'`` or ``'new'``.

        An unmeasured run is trained, and its last checkpoint has still to be tested.
        """
        if self.finished():
            return 'finished'
        if self.from_record():
            return 'recorded'
        if self.left_out:
            return 'left out'
        state = self.run().state
        return 'unmeasured' if state == 'finished' else state

    def needed(self, tasks: Sequence[Task]) -> list[Task]:
        """Return the tasks whose checkpoints this one needs."""
        return [
            task
            for task in tasks
            if task.protocol is self.protocol
            and task.training.name in self.training.needs
            and task.seed == (TEACHER_SEED if task.training.teacher else self.seed)
        ]

    def checkpoint(self) -> str | None:
        """Return the newest checkpoint in its folder."""
        return newest_named(self.folder, self.arm.filename_tmpl)

    def teachers(self, tasks: Sequence[Task]) -> dict[str, str]:
        """Return the hashes of the weights that it needs, by the name of their training, where they are there."""
        paths = {other.training.name: other.checkpoint() for other in self.needed(tasks)}
        return {name: weights_hash(path) for name, path in paths.items() if path is not None}

    def options(self, tasks: Sequence[Task]) -> list[str]:
        """Return the ``KEY=VALUE`` settings, with the newest checkpoints of the runs that they mention.

        Raises:
            ConfigError: If such a run left no checkpoint, or its last one is lost.
        """
        values = {'seed': str(self.seed)}
        for other in self.needed(tasks):
            path = last_checkpoint(other.folder, other.arm.filename_tmpl)
            if path is None:
                raise ConfigError(f"'{other.folder}' holds no readable checkpoint, which {self.name} needs")
            values[other.training.name] = str(path)
        return self.training.option_words(values)


class Experiment:
    """A protocol whose configs are loaded.

    Args:
        protocol: The protocol.
        work_dir: Folder of all experiments.
        arms: Names of arms; only these and the trainings that they need are run. None means all.

    Raises:
        ConfigError: If there is no such arm, or a config cannot be loaded.
    """

    def __init__(self, protocol: Protocol, work_dir: Path, arms: Sequence[str] = ()) -> None:
        self.protocol, self.root = protocol, work_dir / protocol.name
        wanted = protocol.needed_by(arms)
        # The stop rule judges every arm, also those that are not to be run.
        loaded = protocol.needed_by() if protocol.stop_after else wanted
        trainings = [one for one in (*protocol.teachers, *protocol.arms) if one.name in loaded]
        self._trainings = [one for one in trainings if one.name in wanted]
        self._members = {one.name: self._member(one) for one in trainings}
        self.fingerprints: dict[str, str] = {}
        for one in trainings:  # a training comes after those that it needs
            needs = {name: self.fingerprints[name] for name in one.needs}
            config, options = self._members[one.name].config, parse_options(one.option_words({}))
            self.fingerprints[one.name] = settings_hash(config, one.config, options, needs)
        values = read_values(self.folder)
        self._noted = values.get(KEY, {})
        self._committed = read_records(self.folder, values)

    @property
    def folder(self) -> Path:
        """The folder of the protocol, where results are committed."""
        return Path(self.protocol.path).parent

    @property
    def records(self) -> dict[str, dict[int, Recorded]]:
        """The committed records of runs with the present settings, by arm and seed."""
        usable: dict[str, dict[int, Recorded]] = {}
        for arm, runs in self._committed.items():
            for seed, one in runs.items():
                if not self.objection(arm, seed):
                    usable.setdefault(arm, {})[seed] = one
        return usable

    def objection(self, arm: str, seed: int) -> str:
        """Return why the committed record of a run does not stand for it, empty where it does or where there is none.

        Args:
            arm: The arm.
            seed: The seed.
        """
        recorded, protocol = self._committed.get(arm, {}).get(seed), self.protocol
        if recorded is None:
            return "lacks its log in 'logs'" if str(seed) in self._noted.get(arm, {}) else ''
        record = recorded.record
        if record.fingerprint != self.fingerprints.get(arm):
            return 'is of other settings'
        if protocol.test_last and not record.tested:
            return 'lacks the test of the last checkpoint'
        if protocol.calibration and ERROR not in record.tested:
            return 'lacks the calibration'
        return 'lacks the decoder layers' if protocol.layers and record.layers is None else ''

    def needs(self, arm: str) -> list[str]:
        """Return the names of the trainings whose checkpoints an arm needs.

        Args:
            arm: The arm.
        """
        return next(one.needs for one in self.protocol.arms if one.name == arm)

    def _member(self, training: Training) -> Member:
        config = load_config(training.config, parse_options(training.option_words({})))
        kind = TEACHER if training.teacher else BASELINE if training is self.protocol.arms[0] else ARM
        return Member(make_arm(training.config, config, training.name), config, kind, training.note)

    def tasks(self, seeds: Sequence[int]) -> list[Task]:
        """Return the teachers and then the arms, seed by seed.

        Args:
            seeds: The seeds of the arms.

        Raises:
            ConfigError: If a folder holds a run of other settings.
        """
        protocol, ended = self.protocol, self.ended()
        undecided = self.undecided() if set(seeds) & set(protocol.more_seeds) else []

        def reason(task: Task) -> str:
            if task.training.teacher:
                return ''
            if task.arm.name in ended and task.seed not in protocol.judged_seeds:
                return BY_RULE
            return DECIDED if undecided and task.seed in protocol.more_seeds and task.arm.name not in undecided else ''

        return [replace(task, left_out=reason(task)) for task in self._tasks(self._trainings, seeds)]

    def _tasks(self, trainings: Sequence[Training], seeds: Sequence[int]) -> list[Task]:
        made, records = [], self.records
        for teacher, values in ((True, [TEACHER_SEED]), (False, seeds)):
            for seed in values:
                for training in trainings:
                    if training.teacher is teacher:
                        arm = self._members[training.name].arm
                        record = None if teacher else records.get(arm.name, {}).get(seed)
                        task = Task(self.protocol, training, arm, seed, self.root, record)
                        check_fingerprint(task.folder, task.arm)
                        made.append(task)
        return made

    def folders(self, seeds: Mapping[str, Sequence[int]]) -> dict[str, dict[int, Path]]:
        """Return the folders of runs by arm and seed.

        Args:
            seeds: Arm to seeds.
        """
        return {arm: {seed: run_folder(self.root, arm, seed) for seed in own} for arm, own in seeds.items()}

    @property
    def settings(self) -> Settings:
        """Settings of the comparison of the arms."""
        protocol = self.protocol
        members = [self._members[one.name] for one in protocol.arms if one.name in self._members]
        references = dict.fromkeys(worse for _, worse in protocol.contrasts if worse != members[0].arm.name)
        return Settings(
            members,
            protocol.seeds,
            protocol.more_seeds,
            self.root,
            protocol.metrics,
            protocol.test_last,
            list(references),
            [pair for pair in protocol.contrasts if {*pair} <= {one.name for one in self._trainings}],
            self.records,
        )

    def ended(self) -> list[str]:
        """Return the arms that the stop rule has ended: behind the baseline after ``stop_after`` seeds.

        The baseline goes on, and so do the arms that others are compared with or start from.
        """
        judged, base = self.protocol.judged_seeds, self.protocol.arms[0]
        arms = [one for one in self.protocol.arms if one.name in self._members]
        if not judged or base not in arms:
            return []
        waiting = {task.training.name for task in self._tasks(arms, judged) if task.state() not in DONE}
        finished = [one.name for one in arms if one.name not in waiting]
        if base.name not in finished or len(finished) < 2:
            return []
        result, _ = self.settings.compared(dict.fromkeys(finished, judged))
        kept = {worse for _, worse in self.protocol.contrasts} | {name for one in arms for name in one.needs}
        return behind(result, judged, kept)

    def due(self) -> tuple[int, ...]:
        """Return the seeds to run now: those of the stop rule alone, until every arm has finished them."""
        judged = self.protocol.judged_seeds
        waiting = any(task.state() not in DONE for task in self.tasks(judged) if not task.training.teacher)
        return judged if waiting else self.seeds()

    def undecided(self) -> list[str]:
        """Return the arms that need the further seeds, because a contrast of theirs is undecided after the first ones.

        There is none before every arm of a contrast has finished the first seeds, or was ended by the stop rule. A
        contrast counts where both of its arms are to be run.
        """
        settings = self.settings
        names = {name for pair in settings.contrasts or () for name in pair}
        tasks = [task for task in self.tasks(self.protocol.seeds) if task.training.name in names]
        if not tasks or any(task.state() not in DONE for task in tasks):
            return []
        return [arm.name for arm in settings.undecided()]

    def seeds(self) -> tuple[int, ...]:
        """Return all seeds; the further ones are added where the first seeds leave a contrast undecided."""
        first, more = self.protocol.seeds, self.protocol.more_seeds
        return (*first, *more) if self.undecided() else first
