"""Processes that train: their last words, their end with ours, the folder that they keep."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from mmengine.config import Config

from kd_plugins.errors import ConfigError, KDPluginsError
from kd_plugins.runner.processes import (
    config_hash,
    exclusive,
    execute,
    has_hash,
    sigterm_raises,
    stopped_together,
    training_length,
)


def refuse(text, **style):
    raise SyntaxError('Failed to format the config file')


def test_a_hash_does_not_wait_for_the_layout_of_the_text(monkeypatch):
    config = Config({'model': {'type': 'GFL', 'strides': [8, 16], 'classes': {'0': 'cell'}}, 'bound': float('inf')})
    known = config_hash(config)
    monkeypatch.setattr('mmengine.config.config.FormatCode', refuse)
    assert config_hash(config) == known and has_hash(config, known) and not has_hash(config, '0' * 64)


def test_a_hash_of_before_is_still_that_of_its_config(monkeypatch):
    monkeypatch.setattr('mmengine.config.config.FormatCode', lambda text, **style: (f'{text} laid out', True))
    config, other = Config({'x': {'y': [1, 2]}}), Config({'x': {'y': [1, 3]}})
    before = hashlib.sha256(config.pretty_text.encode()).hexdigest()
    assert before != config_hash(config)
    assert has_hash(config, before) and has_hash(config, before[:16]) and not has_hash(other, before)
    assert not has_hash(config, before[:4]) and not has_hash(config, '') and not has_hash(config, None)


def test_a_file_in_the_place_of_a_folder_is_one_sentence(tmp_path):
    (tmp_path / 'runs').write_text('')
    for folder in (tmp_path / 'runs', tmp_path / 'runs' / 'plain'):
        with pytest.raises(ConfigError, match='cannot be made, because a file is in its place'), exclusive(folder):
            pass


def python(text):
    return [sys.executable, '-c', text]


def test_the_last_words_are_those_of_this_start(tmp_path):
    log = tmp_path / 'x.log'
    log.write_text('error: of an earlier start\n')
    with pytest.raises(KDPluginsError, match='ended with status 3: gave up$'):
        execute(python("import sys; print('gave up'); sys.exit(3)"), log)
    assert log.read_text().startswith('error: of an earlier start\n')


def test_a_command_that_fails_is_quoted_by_its_sentence(tmp_path):
    program = "import sys; print('error: a.b is wrong', file=sys.stderr); print('noise'); sys.exit(2)"
    with pytest.raises(KDPluginsError, match=r'status 2: error: a\.b is wrong'):
        execute(python(program), tmp_path / 'x.log')


def test_two_jobs_get_one_thread_each(tmp_path):
    execute(python("import os; print(os.environ['OMP_NUM_THREADS'])"), tmp_path / 'x.log', jobs=2)
    assert (tmp_path / 'x.log').read_text() == '1\n'


@pytest.mark.skipif(os.name == 'nt', reason='signals of POSIX')
def test_a_process_that_was_killed_is_said_to_be(tmp_path):
    with pytest.raises(KDPluginsError, match=r'ended with signal SIGKILL: nothing'):
        execute(python('import os; os.kill(os.getpid(), 9)'), tmp_path / 'x.log')


SLEEPER = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'


ENDS = pytest.mark.parametrize(('number', 'error'), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])


@contextmanager
def interrupted_after(log, number, error):
    """Send a signal to this process alone when a log has its first line, and expect what it raises."""

    def interrupt():
        while not log.is_file() or not log.read_text():
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    # A shell starts what it puts into the background with interruptions ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(error):
            yield
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name == 'nt', reason='signals of POSIX')
@ENDS
def test_an_interruption_ends_the_process(tmp_path, number, error):
    log = tmp_path / 'x.log'
    with interrupted_after(log, number, error):
        execute(python(SLEEPER), log)
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text()), 0)


@pytest.mark.skipif(os.name == 'nt', reason='signals of POSIX')
@ENDS
def test_an_interruption_ends_the_processes_of_all_threads(tmp_path, number, error):
    log, later = tmp_path / 'x.log', tmp_path / 'y.log'
    failures = []

    def run(path):
        try:
            execute(python(SLEEPER), path)
        except KDPluginsError as error:
            failures.append(str(error))

    begin = time.monotonic()
    with interrupted_after(log, number, error), ThreadPoolExecutor(1) as pool, stopped_together():
        for future in [pool.submit(run, log), pool.submit(run, later)]:
            future.result()
    assert time.monotonic() - begin < 50
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text()), 0)
    assert failures[0].endswith('ended with an interrupt') and 'because of an interrupt' in failures[1]
    assert not later.read_text()
    with stopped_together(), ThreadPoolExecutor(1) as pool:  # the next ones start
        pool.submit(execute, python('print(1)'), later).result()
    assert later.read_text() == '1\n'


def test_the_handlers_of_others_stay(tmp_path):
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
    try:
        with sigterm_raises():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [1]
    with sigterm_raises():
        pass
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.skipif(os.name == 'nt', reason='POSIX locks')
def test_a_folder_is_kept_by_a_training_that_outlives_its_parent(tmp_path):
    with exclusive(tmp_path) as held:
        with pytest.raises(ConfigError, match='is still running'), exclusive(tmp_path):
            pass
        child = subprocess.Popen(python('input()'), stdin=subprocess.PIPE, pass_fds=held)
    with pytest.raises(ConfigError, match='is still running'), exclusive(tmp_path):
        pass
    child.communicate(b'\n')
    with exclusive(tmp_path):
        pass


def test_a_training_has_a_length():
    assert training_length(Config({'train_cfg': {'type': 'IterBasedTrainLoop', 'max_iters': 7}})) == ('iter', 7)
    with pytest.raises(ConfigError, match='neither max_epochs nor max_iters'):
        training_length(Config({'train_cfg': {}}))
