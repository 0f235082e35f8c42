"""Queue of experiments: trainings and tests in an order that gives complete pairs early, resumed where they stopped."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from ..errors import KDPluginsError
from ..runner.processes import stopped_together
from .execution import measure_layers, test, train
from .experiment import DONE, Task


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


def to_run(tasks: Sequence[Task]) -> list[Task]:
    """Return the tasks that have to be run.

    These are the arms whose numbers are neither in their folder nor in the committed record, and the trainings whose
    checkpoints they need; a teacher that no arm mentions is run as well.
    """
    chosen = {task.folder for task in tasks if not task.training.teacher and task.state() not in DONE}
    mentioned = {other.folder for task in tasks for other in task.needed(tasks)}
    chosen |= {task.folder for task in tasks if task.training.teacher and task.folder not in mentioned}
    waiting = [task for task in tasks if task.folder in chosen]
    while waiting:
        for other in waiting.pop().needed(tasks):
            if other.folder not in chosen:
                chosen.add(other.folder)
                waiting.append(other)
    return [task for task in tasks if task.folder in chosen and not task.finished()]


def perform(tasks: Sequence[Task], jobs: int = 1) -> list[str]:
    """Train and test what is not finished, ``jobs`` runs at once, each after the runs whose checkpoints it needs.

    Args:
        tasks: In the order of their importance.
        jobs: How many processes run at once, with one CPU thread each where there are several.

    Returns:
        One sentence for each run that failed; a failure stops only the runs that need it.
    """
    changed = threading.Condition()
    waiting = to_run(tasks)
    unfinished = {task.folder for task in waiting}
    failed: dict[Path, str] = {}

    def give_up(task: Task, sentence: str) -> None:
        failed[task.folder] = sentence
        unfinished.discard(task.folder)
        for other in [one for one in waiting if task in one.needed(tasks)]:
            if other not in waiting:  # it needs another one of them, too
                continue
            waiting.remove(other)
            give_up(other, f'{other.name}: not run, because a run that it needs failed')

    def take() -> Task | None:
        with changed:
            while waiting:
                for task in waiting:
                    if not any(other.folder in unfinished for other in task.needed(tasks)):
                        waiting.remove(task)
                        return task
                changed.wait()
            return None

    def work() -> None:
        while (task := take()) is not None:
            sentence = f'{task.name}: stopped by an unexpected error'
            try:
                train_and_test(task, tasks, jobs)
                sentence = ''
            except (KDPluginsError, OSError) as error:  # such as a full disk
                sentence = f'{task.name}: {error}'
                print(f'failed: {sentence}', flush=True)
            finally:
                # Also after an error that ends this thread: the others must not wait for its run.
                with changed:
                    unfinished.discard(task.folder)
                    if sentence:
                        give_up(task, sentence)
                    changed.notify_all()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(max(jobs, 1))]
    with stopped_together():
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(1.0)  # an interrupt is seen between two joins
        except BaseException:
            with changed:
                waiting.clear()
            raise
    return list(failed.values())


def train_and_test(task: Task, tasks: Sequence[Task], jobs: int) -> None:
    """Train a run, or what is left of it, and measure its last checkpoint.

    Args:
        task: The run.
        tasks: All runs, among them those whose checkpoints it needs.
        jobs: How many processes run at once.

    Raises:
        KDPluginsError: If the training or the test fails, or leaves no metrics.
    """
    options = task.options(tasks)
    train(task.run(), task.name, options, jobs, task.teachers(tasks))
    if task.lacks_test:
        test(task.run(), options, jobs, task.protocol.calibration)
        if task.lacks_test:
            raise KDPluginsError(f"the test in '{task.folder / 'test'}' left no metrics; see test.log beside it")
    if task.lacks_layers:
        measure_layers(task.run(), options, jobs)
        if task.lacks_layers:
            raise KDPluginsError(f"'{task.folder}' lacks the metrics of its decoder layers; see layers.log in it")
