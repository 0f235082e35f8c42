"""Trainings in separate processes: identity, length, command, execution, and locks on folders."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config

from ..errors import ConfigError, KDPluginsError

LOCK = '.lock'
_STARTED: set[subprocess.Popen[bytes]] = set()
"""Commands of :func:`execute` that run, in all threads."""
_STARTING = threading.Lock()
_INTERRUPTED = threading.Event()
"""Set by :func:`stopped_together` when it stops the commands of other threads, which then start no further one."""
HASH_LENGTH = 16
"""Hexadecimal digits of a hash in a record of a comparison."""


def config_hash(config: Config) -> str:
    """Return the SHA-256 of a resolved config's text; equal settings have equal hashes, whichever files set them.

    The text is not laid out, which would take up to a second and depend on the release of yapf.

    >>> config_hash(Config({'x': 1})) == config_hash(Config({'x': 1})) != config_hash(Config({'x': 2}))
    True
    """
    return _hash(Config(config.to_dict(), format_python_code=False).pretty_text)


def has_hash(config: Config, recorded: str) -> bool:
    """Return whether a recorded hash, or its first 16 digits or more, is that of a config.

    Records of before hold the hash of the text as yapf lays it out, which counts as well.

    Args:
        config: The resolved config.
        recorded: The hash.

    >>> config = Config({'x': {'y': 1}})
    >>> has_hash(config, config_hash(config)[:16]), has_hash(Config({'x': 1}), config_hash(config))
    (True, False)
    """
    if not isinstance(recorded, str) or len(recorded) < HASH_LENGTH:
        return False
    if config_hash(config).startswith(recorded):
        return True
    try:
        return _hash(config.pretty_text).startswith(recorded)
    except SyntaxError:  # yapf cannot lay it out, so there is no such record
        return False


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def training_length(config: Config) -> tuple[str, int]:
    """Return the unit of a training's length, ``'epoch'`` or ``'iter'``, and the length.

    Raises:
        ConfigError: If the config sets neither.

    >>> training_length(Config({'train_cfg': {'max_epochs': 3}}))
    ('epoch', 3)
    """
    loop = config.get('train_cfg') or {}
    for unit, key in (('epoch', 'max_epochs'), ('iter', 'max_iters')):
        if loop.get(key):
            return unit, int(loop[key])
    raise ConfigError('train_cfg has neither max_epochs nor max_iters, so the length of the run is unknown')


def subcommand(name: str) -> list[str]:
    """Return the words that run a subcommand of ``kd_plugins`` in another process.

    >>> subcommand('train')[1:]
    ['-m', 'kd_plugins', 'train']
    """
    return [sys.executable, '-m', 'kd_plugins', name]


def train_command(
    start: Sequence[str],
    config: str | Path,
    folder: str | Path,
    resume: bool | str = False,
    arguments: Sequence[str] = (),
) -> list[str]:
    """Return the command that starts or resumes a training.

    Args:
        start: Words that run ``kd_plugins train``, with those of a launcher before them.
        config: The config.
        folder: Its work_dir.
        resume: Whether to resume from the newest checkpoint, or the checkpoint to resume from.
        arguments: More arguments.

    >>> train_command(['kd_plugins', 'train'], 'a.py', 'out', resume=True)
    ['kd_plugins', 'train', 'a.py', '--work-dir', 'out', '--resume']
    """
    resumed = ['--resume', *([resume] if isinstance(resume, str) else [])] if resume else []
    return [*start, str(config), '--work-dir', str(folder), *resumed, *arguments]


def execute(command: Sequence[str], log: Path, jobs: int = 1, pass_fds: Sequence[int] = ()) -> None:
    """Run a command and append its output to a file; an interrupt or SIGTERM of this process stops the command.

    Both are raised in the main thread alone; see :func:`stopped_together` for commands of other threads.

    Args:
        command: Words of the command.
        log: The file.
        jobs: Number of such processes at the same time; with more than one, each gets one CPU thread.
        pass_fds: File descriptors that the process inherits.

    Raises:
        KDPluginsError: If the command fails; the sentence ends with its last error, or its last line.
    """
    environment = dict(os.environ)
    if jobs > 1:
        # Threads of two processes on the same cores spin waiting for each other.
        environment['OMP_NUM_THREADS'] = '1'
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open('a', encoding='utf-8') as file:
        begin = file.tell()
        with sigterm_raises():
            with _STARTING:
                if _is_interrupted():
                    raise KDPluginsError(f"'{log}' is not written, because of an interrupt")
                process = subprocess.Popen(
                    command, stdout=file, stderr=subprocess.STDOUT, env=environment, pass_fds=tuple(pass_fds)
                )
                _STARTED.add(process)
            try:
                status = process.wait()
            except BaseException:
                stop(process)
                raise
            finally:
                _STARTED.discard(process)
    if status and _is_interrupted():
        raise KDPluginsError(f"'{log}' ended with an interrupt")
    if status:
        with log.open('rb') as written:
            written.seek(begin)
            text = written.read().decode('utf-8', errors='replace')
        lines = [line for line in text.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith('error')]
        how = f'status {status}' if status > 0 else f'signal {signal_name(-status)}'
        raise KDPluginsError(f"'{log}' ended with {how}: {(errors or lines or ['nothing'])[-1]}")


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Let SIGTERM raise :class:`SystemExit` in the main thread, as an interrupt raises ``KeyboardInterrupt``.

    Schedulers of clusters and service managers end a job with SIGTERM; by default, a process that gets it ends without
    its ``finally`` clauses, and the commands that it started go on. A handler that somebody else has set stays.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def stopped_together() -> Iterator[None]:
    """Stop the commands that other threads run, where an interrupt, SIGTERM or an error ends the block.

    Without it, these commands would go on, and a pool of threads would wait for them.
    """
    _INTERRUPTED.clear()
    try:
        with sigterm_raises():
            yield
    except BaseException:
        with _STARTING:
            _INTERRUPTED.set()
            running = list(_STARTED)
        for process in running:
            process.terminate()
        for process in running:
            stop(process)
        raise


def _is_interrupted() -> bool:
    return _INTERRUPTED.is_set() and threading.current_thread() is not threading.main_thread()


def stop(process: subprocess.Popen[bytes], patience: float = 10.0) -> None:
    """Terminate a process, so that it can stop its own children, and kill it if it does not end in time."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def signal_name(number: int) -> str:
    """Return the name of a signal, or its number if it has no name.

    >>> signal_name(9)
    'SIGKILL'
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


@contextmanager
def exclusive(folder: Path) -> Iterator[tuple[int, ...]]:
    """Lock a folder for this process and for the processes that inherit the yielded file descriptors.

    A training that outlives its killed parent keeps the lock. On a system without POSIX locks, nothing is locked.

    Raises:
        ConfigError: If another process holds the lock, or a file is in the place of the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ConfigError(f"--work-dir: '{folder}' cannot be made, because a file is in its place") from None
    try:
        import fcntl
    except ImportError:
        yield ()
        return
    with (folder / LOCK).open('a') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"--work-dir: a training in '{folder}' is still running; wait for its end or stop it first"
            ) from None
        except OSError:  # a file system without locks
            yield ()
            return
        yield (file.fileno(),)
