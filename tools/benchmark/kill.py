"""Kill runs with SIGKILL, resume them, and compare them with undisturbed ones: ``python tools/benchmark/kill.py``.

Each kind of run (tools/benchmark/kill_kinds.py) is trained once without disturbance. Then the same command is started,
its process group is killed, and the same command is started again, several times, until it ends by itself. Moments of
a kill are random: over the whole time of a run with its start, over its iterations, or while a file is being written.
A run is lost if a restart fails or hangs. It differs if a weight, a state of an optimizer, teacher or adapter, a logged
loss, a metric or the set of files is not that of the undisturbed run, bit for bit.

State and logs are in ``--out``, and the same command goes on where it was stopped. Exit status: 0 if no run is lost and
none differs.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_plugins.utils.checks import check_choice
from kd_plugins.utils.cli import SEED, one_sentence, whole_number
from kd_plugins.utils.files import write_atomically
from kd_plugins.utils.tables import print_table
from tools.benchmark.kill_kinds import KINDS, Kind, first_difference, result_of, write_weights

ROOT = Path(__file__).resolve().parents[2]
MOMENTS = {'anywhere': 0.4, 'iteration': 0.25, 'write': 0.35}
"""Kind of moment to its share."""
KILLS_PER_RUN = 6
HEADERS = ('kind', 'runs', 'kills', 'at start', 'in a write', 'lost', 'differ')


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(description='Kill runs with SIGKILL, resume them, and compare them with undisturbed ones')
    built.add_argument('--kills', type=whole_number(1), default=100, help='kills of all kinds together')
    built.add_argument('--seed', type=SEED, default=0, help='of the moments')
    built.add_argument('--kinds', nargs='+', default=list(KINDS), metavar='KIND', help=f'of {", ".join(KINDS)}')
    built.add_argument('--out', type=Path, default=Path('work_dirs/kill'), help='folder of the runs and of the state')
    return built


@dataclass
class Moment:
    """Moment of a kill.

    Attributes:
        name: ``'anywhere'``, ``'iteration'`` or ``'write'``.
        delay: Seconds after the start, after the first iteration, or after a temporary file appears.
        count: Which temporary file.
    """

    name: str
    delay: float
    count: int = 1


def draw_moment(generator: random.Random, seconds: Sequence[float]) -> Moment:
    """Return a random moment.

    Args:
        generator: Of random numbers.
        seconds: Of an undisturbed run, and of its part from the first iteration on.
    """
    (name,) = generator.choices(list(MOMENTS), list(MOMENTS.values()))
    if name == 'write':
        return Moment(name, generator.uniform(0, 0.003), generator.randint(1, 4))
    return Moment(name, generator.uniform(0, seconds[0 if name == 'anywhere' else 1]))


class Watch:
    """Files of the trainings below a work_dir, and what changes there during one process.

    Args:
        folders: The folders of the trainings.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        self.known = self.partial_files()
        self.writes = 0
        self.logs = set(self._logs())

    def partial_files(self) -> set[str]:
        """Return the temporary files of checkpoints that are being written."""
        names = set()
        for folder in self.folders:
            try:
                names |= {
                    entry.path for entry in os.scandir(folder) if entry.name.startswith('.') and '.pth' in entry.name
                }
            except FileNotFoundError:
                continue
        return names

    def _logs(self) -> list[Path]:
        return [path for folder in self.folders for path in folder.glob('*/vis_data/scalars.json')]

    def count_writes(self) -> int:
        """Return how many files were begun, as far as the calls have seen them."""
        partial = self.partial_files()
        self.writes += len(partial - self.known)
        self.known = partial
        return self.writes

    def trains(self) -> bool:
        """Return whether this process has logged an iteration."""
        return any(path.stat().st_size > 0 for path in self._logs() if path not in self.logs)


def wait(process: subprocess.Popen[bytes], reached: Callable[[], bool], limit: float, pause: float) -> bool:
    """Wait until a moment is reached; return whether the process is alive then.

    Raises:
        TimeoutError: If the process is alive after ``limit`` seconds.
    """
    end = time.monotonic() + limit
    while not reached():
        if process.poll() is not None:
            return False
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(pause)
    return process.poll() is None


def wait_for_moment(process: subprocess.Popen[bytes], moment: Moment, watch: Watch, limit: float) -> bool:
    """Wait for the moment of a kill; return whether the process is alive then."""
    if moment.name == 'write':
        alive = wait(process, lambda: watch.count_writes() >= moment.count, limit, 0.0003)
    elif moment.name == 'iteration':
        alive = wait(process, watch.trains, limit, 0.02)
    else:
        alive = True
    end = time.monotonic() + moment.delay
    return alive and wait(process, lambda: time.monotonic() >= end, limit, min(moment.delay, 0.02))


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and the processes that it started, and wait for their end."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for _ in range(100):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(0.02)


class Killer:
    """The runs of one output folder.

    Args:
        args: Of the command line.
    """

    def __init__(self, args: Namespace) -> None:
        self.args = args
        self.out = args.out.resolve()
        self.path = self.out / 'state.json'
        self.state: dict[str, Any] = {'references': {}, 'runs': []}
        if self.path.is_file():
            self.state = json.loads(self.path.read_text(encoding='utf-8'))
        self.environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}

    def save(self) -> None:
        """Write the state."""
        write_atomically(self.path, f'{json.dumps(self.state, indent=1)}\n'.encode())

    def kills(self, kind: str | None = None) -> int:
        """Return the number of kills so far, of one kind or of those that were asked for."""
        kinds = self.args.kinds if kind is None else [kind]
        return sum(len(run['kills']) for run in self.state['runs'] if run['kind'] in kinds)

    def start(self, name: str, work_dir: Path) -> subprocess.Popen[bytes]:
        """Start the command of a kind in a process group of its own."""
        work_dir.mkdir(parents=True, exist_ok=True)
        with (work_dir.parent / f'{work_dir.name}.log').open('ab') as log:
            return subprocess.Popen(
                KINDS[name].words(name, self.out, work_dir), cwd=ROOT, env=self.environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def reference(self, name: str) -> dict[str, Any]:
        """Return the result of an undisturbed run, which is trained where the folder does not have it."""
        folder = self.out / name / 'reference'
        if name not in self.state['references']:
            shutil.rmtree(folder, ignore_errors=True)
            begin = time.monotonic()
            watch = Watch([folder / training for training in KINDS[name].trainings])
            process = self.start(name, folder)
            alive = wait(process, watch.trains, 300, 0.02)
            first = time.monotonic() - begin
            if not alive or process.wait(300) != 0:
                raise RuntimeError(f"the undisturbed run failed, see '{folder}.log'")
            whole = time.monotonic() - begin
            self.state['references'][name] = [round(whole, 2), round(whole - first, 2)]
            self.save()
        return result_of(KINDS[name], folder)

    def disturb(self, name: str, reference: dict[str, Any]) -> None:
        """Train a run with kills, compare it, and add it to the state."""
        index = sum(run['kind'] == name for run in self.state['runs'])
        generator = random.Random(f'{self.args.seed} {name} {index}')
        folder = self.out / name / f'{index:03}'
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_name(f'{folder.name}.log').unlink(missing_ok=True)
        run: dict[str, Any] = {'kind': name, 'index': index, 'kills': [], 'lost': '', 'differs': ''}
        most = min(KILLS_PER_RUN, self.args.kills - self.kills())
        limit = 60 + 10 * self.state['references'][name][0]
        while True:
            watch = Watch([folder / training for training in KINDS[name].trainings])
            process = self.start(name, folder)
            begin = time.monotonic()
            try:
                if len(run['kills']) == most:
                    status = process.wait(limit)
                    break
                moment = draw_moment(generator, self.state['references'][name])
                if not wait_for_moment(process, moment, watch, limit):
                    status = process.wait(limit)
                    break
            except (TimeoutError, subprocess.TimeoutExpired):
                kill_group(process)
                status = None
                break
            kill_group(process)
            if process.returncode != -signal.SIGKILL:
                status = process.returncode
                break
            run['kills'].append(
                {
                    'moment': moment.name,
                    'seconds': round(time.monotonic() - begin, 2),
                    'trained': watch.trains(),
                    'partial': len(watch.partial_files() - (watch.known if moment.name != 'write' else set())),
                }
            )
        self.judge(run, KINDS[name], folder, status, reference)
        self.state['runs'].append(run)
        self.save()
        verdict = run['lost'] or run['differs'] or 'equal'
        print(f'{name} {index:03}: {len(run["kills"])} kills, {verdict}', flush=True)
        if verdict == 'equal':
            shutil.rmtree(folder)

    def judge(self, run: dict[str, Any], kind: Kind, folder: Path, status: int | None, reference: Any) -> None:
        """Set what is wrong with a run."""
        text = folder.with_name(f'{folder.name}.log').read_text(encoding='utf-8', errors='replace')
        if status != 0:
            how = 'it did not end' if status is None else f'status {status}'
            run['lost'] = f'lost, {how}: {(text.splitlines() or [""])[-1]}'
            return
        try:
            difference = first_difference(reference, result_of(kind, folder))
        except Exception as error:  # any unreadable file is a lost run
            run['lost'] = f'lost, {type(error).__name__}: {error}'
            return
        if kind.sentence and text.count('Resumed') > text.count(kind.sentence):
            difference = difference or f"a resumed run did not log '{kind.sentence}'"
        run['differs'] = f'differs, {difference}' if difference else ''

    def rows(self) -> list[list[Any]]:
        """Return the table under :data:`HEADERS`."""
        rows = []
        for name in [*self.args.kinds, None]:
            runs = [
                run
                for run in self.state['runs']
                if run['kind'] == name or (name is None and run['kind'] in self.args.kinds)
            ]
            kills = [kill for run in runs for kill in run['kills']]
            counts = [
                len(runs),
                len(kills),
                sum(not kill['trained'] for kill in kills),
                sum(kill['partial'] > 0 for kill in kills),
                sum(bool(run['lost']) for run in runs),
                sum(bool(run['differs']) for run in runs),
            ]
            rows.append([name or 'all', *map(str, counts)])
        return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill, resume, compare; return the exit status."""
    args = parser().parse_args(arguments)
    with one_sentence('the same command goes on'):
        for kind in args.kinds:
            check_choice('--kinds', kind, list(KINDS))
        args.out.mkdir(parents=True, exist_ok=True)
        killer = Killer(args)
        write_weights(killer.out)
        references: dict[str, Any] = {}
        while killer.kills() < args.kills:
            name = min(args.kinds, key=killer.kills)
            if name not in references:
                references[name] = killer.reference(name)
            killer.disturb(name, references[name])
        rows = killer.rows()
        print_table(f'{killer.kills()} kills, seed {args.seed}', HEADERS, rows)
    return 0 if rows[-1][-2:] == ['0', '0'] else 1


if __name__ == '__main__':
    sys.exit(main())
