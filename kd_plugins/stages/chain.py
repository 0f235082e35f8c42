"""Run of a chain of stages in one folder, which an interrupted run continues."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..checkpoints import latest_checkpoint
from ..errors import ConfigError, KDPluginsError
from ..runner.processes import execute, subcommand, train_command
from ..runner.resume import best_metrics
from .manifest import UNITS, finish, first_entry, read_manifest, set_aside, state_of, write_config, write_manifest
from .spec import Plan, dependents

HEADERS = ('stage', 'trained', 'length', 'time', 'picked', 'weights', 'metric', 'sha256')


def start_words(launcher: str, processes: int) -> list[str]:
    """Return the words that run ``kd_plugins train``, with those of a launcher before them.

    Args:
        launcher: ``'none'``, ``'pytorch'`` or ``'slurm'``.
        processes: Of one training, with ``'pytorch'``.

    >>> start_words('pytorch', 2)[1:]
    ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', '-m', 'kd_plugins', 'train']
    """
    python, *train = subcommand('train')
    if launcher == 'pytorch':
        return [python, '-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}', *train]
    if launcher == 'slurm':
        srun = ['srun', '--kill-on-bad-exit=1', *shlex.split(os.environ.get('SRUN_ARGS', ''))]
        return [*srun, python, '-u', *train]
    return [python, *train]


class Chain:
    """Stages of one folder and what they have made so far.

    Args:
        plans: Stages with their settings, in their order.
        work_dir: Folder of everything that they make.
        source: Path of the stages file, for the manifest.
        launcher: How each training is started, see :func:`start_words`.
        processes: Of each training.
        held: File descriptors that keep the folder to this chain, passed to the trainings.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        work_dir: Path,
        source: str,
        launcher: str = 'none',
        processes: int = 1,
        held: Sequence[int] = (),
    ) -> None:
        self.plans = {plan.stage.name: plan for plan in plans}
        self.work_dir = work_dir
        self.source = source
        self.launcher = launcher
        self.processes = processes
        self.held = held
        self.entries = read_manifest(work_dir)

    def write(self) -> None:
        """Write the manifest."""
        names = sorted(self.entries, key=lambda name: list(self.plans).index(name) if name in self.plans else -1)
        write_manifest(self.work_dir, {name: self.entries[name] for name in names}, stages_file=self.source)

    def redo(self, names: Sequence[str]) -> None:
        """Set aside what stages, and all that take from them, have made."""
        set_aside(self.work_dir, self.entries, dependents([plan.stage for plan in self.plans.values()], names))
        self.write()

    def state(self, name: str) -> str:
        """Return what a stage needs."""
        return state_of(self.plans[name], self.entries, self.work_dir)

    def run(self, only: str | None = None) -> list[str]:
        """Run the stages that are not finished; return the names of those that were asked for.

        Args:
            only: The one stage to run; by default all of them.

        Raises:
            ConfigError: If a stage cannot go on, or ``only`` takes from a stage that is not finished.
            KDPluginsError: If a stage fails.
        """
        names = [only] if only else list(self.plans)
        for source in self.plans[only].stage.takes.values() if only else ():
            if self.state(source) != 'finished':
                raise ConfigError(f"--only {only} takes from '{source}', which is not finished; run that first")
        for name in names:
            self.state(name)  # refuses before anything is trained
        for name in names:
            self.run_stage(name)
        return names

    def run_stage(self, name: str) -> None:
        """Bring a stage to its end.

        Raises:
            KDPluginsError: If it fails.
        """
        plan, state = self.plans[name], self.state(name)
        if state == 'finished':
            print(f'{name}: finished before', flush=True)
            return
        if state == 'new':
            self.entries[name] = first_entry(plan, self.entries)
        if plan.config is not None and state != 'pick':
            self.train(plan, resume=state == 'resume')
        entry = self.entries[name]
        finish(plan, entry, self.work_dir)
        self.write()
        print(
            f'{name}: {entry["checkpoint"]}, {entry["weights"]} weights -> {self.work_dir / entry["file"]}', flush=True
        )

    def train(self, plan: Plan, resume: bool) -> None:
        """Train a stage, from the start or from where it was interrupted.

        Raises:
            KDPluginsError: If the training fails.
        """
        name = plan.stage.name
        folder, entry = self.work_dir / name, self.entries[name]
        log, begin = folder / 'train.log', time.time()
        point = latest_checkpoint(folder) if resume else None
        # A killed process could not write how long it took.
        if 'started' in entry and log.is_file():
            entry['seconds'] += max(log.stat().st_mtime - entry['started'], 0.0)
        entry.update(status='running', started=begin)
        self.write()
        print(f'{name}: {f"resumed from {Path(point).name}" if point else "started"}, log in {log}', flush=True)
        launcher = ['--launcher', self.launcher] if self.launcher != 'none' else []
        start = start_words(self.launcher, self.processes)
        config_file = write_config(plan, self.work_dir)
        command = train_command(start, config_file, folder, point or False, launcher)
        entry['status'] = 'interrupted'
        try:
            execute(command, log, pass_fds=self.held)
            entry['status'] = 'trained'
        except KDPluginsError as error:
            entry['status'] = 'failed'
            raise KDPluginsError(f"stage '{name}' failed: {error}") from error
        finally:
            del entry['started']
            entry['seconds'] = round(entry['seconds'] + time.time() - begin, 1)
            self.write()

    def summary(self, name: str) -> list[str]:
        """Return the row of a finished stage under :data:`HEADERS`."""
        plan, entry = self.plans[name], self.entries[name]
        metrics = entry.get('metrics') or {}
        shown = shown_metric(plan, metrics)
        length = next((f'{entry[key]} {key}' for key, _ in UNITS.values() if key in entry), '')
        return [
            name,
            plan.stage.config or str(plan.stage.checkpoint),
            length,
            f'{entry["seconds"] / 60:.1f} min' if plan.config else '',
            f'{entry["pick"]}: {entry["checkpoint"]}' if plan.config else '',
            entry['weights'],
            shown,
            entry['sha256'][:12],
        ]


def shown_metric(plan: Plan, metrics: dict[str, Any]) -> str:
    """Return name and value of the metric by which a stage's best checkpoint is chosen, or of the first one."""
    named = [name for name in (best_metrics(plan.config) if plan.config else []) if name in metrics]
    first = (named or list(metrics))[:1]
    return ', '.join(f'{name} {metrics[name]:.4g}' for name in first if metrics[name] is not None)
