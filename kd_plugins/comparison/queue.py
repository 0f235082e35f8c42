"""Queue of experiments: trainings and tests in an order that gives complete pairs early, resumed where they stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config.loading import load_config
from ..errors import ConfigError, KDPluginsError
from ..runner.resume import newest_named
from ..runner.run_log import read_run, read_test
from ..utils.cli import parse_options
from .execution import test, train
from .formatting import lower_is_better
from .plan import Arm, Run, check_fingerprint, make_arm, plan_runs
from .protocol import Protocol, Training, undecided
from .statistics import paired_difference

TEACHER_SEED = 0
WAIT = 5.0
"""Seconds between two looks for a run whose teacher has finished."""


@dataclass(frozen=True)
class Task:
    """One training with its test.

    Attributes:
        protocol: Its experiment.
        training: Its config.
        arm: The same for the functions of a comparison.
        seed: ``randomness.seed``.
        root: Folder of the experiment's runs.
    """

    protocol: Protocol
    training: Training
    arm: Arm
    seed: int
    root: Path

    @property
    def folder(self) -> Path:
        """The run's work_dir."""
        return self.root / self.arm.name / f'seed_{self.seed}'

    @property
    def name(self) -> str:
        """Name in printed lines."""
        return f'{self.protocol.name}: {self.arm.name} seed {self.seed}'

    @property
    def tested(self) -> bool:
        """Whether the last checkpoint is measured; a teacher's is not."""
        return self.protocol.test_last and not self.training.teacher

    def run(self) -> Run:
        """Return the run in its present state."""
        return plan_runs([self.arm], [self.seed], self.root)[0]

    def options(self, tasks: Sequence[Task]) -> list[str]:
        """Return the ``KEY=VALUE`` settings, with the newest checkpoints of the runs that they mention.

        Raises:
            ConfigError: If such a run left no checkpoint.
        """
        values = {'seed': str(self.seed)}
        for other in self.needed(tasks):
            path = newest_named(other.folder, other.arm.filename_tmpl)
            if path is None:
                raise ConfigError(f"'{other.folder}' holds no readable checkpoint, which {self.name} needs")
            values[other.training.name] = str(path)
        return self.training.option_words(values)

    def needed(self, tasks: Sequence[Task]) -> list[Task]:
        """Return the tasks whose checkpoints this one needs."""
        return [
            task
            for task in tasks
            if task.protocol is self.protocol
            and task.training.name in self.training.needs
            and task.seed == (TEACHER_SEED if task.training.teacher else self.seed)
        ]

    def finished(self) -> bool:
        """Return whether the training and its test have left their metrics."""
        return self.run().state == 'finished' and (not self.tested or bool(read_test(self.folder / 'test')))


def tasks_of(protocol: Protocol, work_dir: Path, seeds: Sequence[int], arms: Sequence[str] = ()) -> list[Task]:
    """Return the teachers and then the arms of a protocol, seed by seed.

    Args:
        protocol: The experiment.
        work_dir: Folder of all experiments.
        seeds: The seeds of the arms.
        arms: Names of arms; only these and the trainings that they need are returned. None means all.

    Raises:
        ConfigError: If there is no such arm, a config cannot be loaded, or a folder holds a run of other settings.
    """
    root = work_dir / protocol.name
    wanted = protocol.needed_by(arms)
    made = {
        training.name: _arm(training) for training in (*protocol.teachers, *protocol.arms) if training.name in wanted
    }
    tasks = []
    for group, values in ((protocol.teachers, [TEACHER_SEED]), (protocol.arms, seeds)):
        for seed in values:
            for training in group:
                if training.name not in wanted:
                    continue
                task = Task(protocol, training, made[training.name], seed, root)
                check_fingerprint(task.folder, task.arm)
                tasks.append(task)
    return tasks


def _arm(training: Training) -> Arm:
    settings = parse_options(training.option_words({}))
    return make_arm(training.config, load_config(training.config, settings), training.name)


def in_turn(queues: Sequence[Sequence[Task]]) -> list[Task]:
    """Return the tasks of several experiments: all teachers and first seeds come before any second seed.

    Each experiment keeps its own order, and experiments given first go first.
    """
    numbered = []
    for place, queue in enumerate(queues):
        seeds = list(dict.fromkeys(task.seed for task in queue if not task.training.teacher))
        for index, task in enumerate(queue):
            turn = 0 if task.training.teacher else seeds.index(task.seed)
            numbered.append(((turn, place, index), task))
    return [task for _, task in sorted(numbered, key=lambda pair: pair[0])]


def perform(tasks: Sequence[Task], jobs: int = 1) -> list[str]:
    """Train and test what is not finished, ``jobs`` runs at once, each after the runs whose checkpoints it needs.

    Args:
        tasks: In the order of their importance.
        jobs: How many processes run at once, with one CPU thread each where there are several.

    Returns:
        One sentence for each run that failed; a failure stops only the runs that need it.
    """
    lock = threading.Lock()
    waiting = [task for task in tasks if not task.finished()]
    open_folders = {task.folder for task in waiting}
    failed: dict[Path, str] = {}

    def take() -> Task | str | None:
        with lock:
            for task in waiting:
                needed = {other.folder for other in task.needed(tasks)}
                if needed & set(failed):
                    failed[task.folder] = f'{task.name}: not run, because a run that it needs failed'
                    open_folders.discard(task.folder)
                    waiting.remove(task)
                    return 'again'
                if not needed & open_folders:
                    waiting.remove(task)
                    return task
            return 'wait' if waiting else None

    def work() -> None:
        while (task := take()) is not None:
            if isinstance(task, str):
                if task == 'wait':
                    time.sleep(WAIT)
                continue
            sentence = ''
            try:
                train_and_test(task, tasks, jobs)
            except KDPluginsError as error:
                sentence = f'{task.name}: {error}'
                print(f'failed: {sentence}', flush=True)
            with lock:
                open_folders.discard(task.folder)
                if sentence:
                    failed[task.folder] = sentence

    threads = [threading.Thread(target=work, daemon=True) for _ in range(max(jobs, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(1.0)  # an interrupt is seen between two joins
    return list(failed.values())


def train_and_test(task: Task, tasks: Sequence[Task], jobs: int) -> None:
    """Train a run, or what is left of it, and measure its last checkpoint.

    Args:
        task: The run.
        tasks: All runs, among them those whose checkpoints it needs.
        jobs: How many processes run at once.

    Raises:
        KDPluginsError: If the training or the test fails.
    """
    options = task.options(tasks)
    train(task.run(), task.name, options, jobs)
    if task.tested and not read_test(task.folder / 'test'):
        test(task.run(), options, jobs)


def measured(task: Task) -> dict[str, float]:
    """Return the metrics of a run's test, or of its last validation where it is not tested."""
    if task.tested:
        return read_test(task.folder / 'test')
    return {key: series[max(series)] for key, series in read_run(task.folder).metrics.items() if series}


def seeds_to_run(protocol: Protocol, work_dir: Path, arms: Sequence[str] = ()) -> tuple[int, ...]:
    """Return the seeds of a protocol; the further ones are added where its first seeds leave a contrast undecided.

    Args:
        protocol: The experiment.
        work_dir: Folder of all experiments.
        arms: Names of the arms that are run, which must hold both sides of a contrast; none means all.
    """
    wanted = protocol.needed_by(arms)
    if not protocol.more_seeds or not all(name in wanted for pair in protocol.contrasts for name in pair):
        return protocol.seeds
    tasks = {(task.arm.name, task.seed): task for task in tasks_of(protocol, work_dir, protocol.seeds)}
    metric = protocol.metrics[0]
    sign = -1.0 if lower_is_better(metric) else 1.0
    differences = []
    for better, worse in protocol.contrasts:
        pairs = [(tasks[worse, seed], tasks[better, seed]) for seed in protocol.seeds]
        if not all(task.finished() for pair in pairs for task in pair):
            return protocol.seeds
        columns = [[sign * measured(pair[side])[metric] for pair in pairs] for side in (0, 1)]
        change = paired_difference(columns[0], columns[1])
        differences.append((change.mean, change.low, change.high))
    return (*protocol.seeds, *protocol.more_seeds) if undecided(differences) else protocol.seeds
