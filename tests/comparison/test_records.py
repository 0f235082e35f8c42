"""Records in ``results.json``: what is read back, and what is left out or refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.comparison.records import KEY, Record, as_json, log_path, read_records
from kd_plugins.errors import ConfigError
from kd_plugins.runner.run_log import RunLog, compact_lines, without_nan, write_lines

NAN = float('nan')
ONE = Record('f', 2, {'AP': 1 / 3, 'rare': NAN}, {}, NAN, 10, 1, 'here', {'big': None})


def written(folder: Path, entries: Any, log: bool = True) -> Path:
    if log:
        log_path(folder, 'a', 3).parent.mkdir()
        lines = compact_lines(RunLog({'AP': {1: 0.5, 2: 0.33333}}, {'loss': {10: 1.5}}))
        write_lines(log_path(folder, 'a', 3), lines)
    (folder / 'results.json').write_text(json.dumps(without_nan({KEY: entries})))
    return folder


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    read = read_records(written(tmp_path, as_json({'a': {3: ONE}})))['a'][3]
    assert str(read.record) == str(ONE)  # NaN differs from itself
    assert read.log.metrics['AP'] == {1: 0.5, 2: 1 / 3} and read.log.losses == {'loss': {10: 1.5}}
    assert read.state == 'finished'


def test_a_record_without_its_log_does_not_count(tmp_path: Path) -> None:
    assert read_records(written(tmp_path, as_json({'a': {3: ONE}}), log=False)) == {}
    assert read_records(tmp_path / 'nothing') == {}


def test_an_entry_of_a_later_version_is_read(tmp_path: Path) -> None:
    entry = {**dataclasses.asdict(ONE), 'new': 1}
    assert read_records(written(tmp_path, {'a': {'3': entry}}))['a'][3].record.step == 2


def test_damage_is_one_sentence(tmp_path: Path) -> None:
    folder = written(tmp_path, {'a': {'3': {'step': 2}}})
    with pytest.raises(ConfigError, match=r"results\.json' is damaged: records\.a\.3 has no 'metrics'"):
        read_records(folder)
    (folder / 'results.json').write_text('{"records": ')
    with pytest.raises(ConfigError, match='is damaged .*; restore the committed file or remove it'):
        read_records(folder)
    written(folder, as_json({'a': {3: ONE}}), log=False)
    log_path(folder, 'a', 3).write_bytes(b'\x1f\x8b\x08 cut')
    with pytest.raises(ConfigError, match=r"a_seed_3\.jsonl\.gz' is damaged"):
        read_records(folder)
