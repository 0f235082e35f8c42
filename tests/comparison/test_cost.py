"""Measured step ratios, which are recorded, and times in logs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from mmengine.config import Config

from kd_plugins.comparison import cost
from kd_plugins.comparison.cost import cost_of, logged_time, place_of_most, step_ratio
from kd_plugins.comparison.plan import Arm, write_record
from kd_plugins.comparison.records import Record, Recorded
from kd_plugins.errors import ConfigError
from kd_plugins.runner.run_log import RunLog

PLAIN, TAUGHT = Config({'x': 1}), Config({'x': 2})


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that measure; each one finds the next of the ratios 1.25, 1.5, ..."""
    commands: list[list[str]] = []

    def execute(command: Sequence[str], log: Path, jobs: int) -> None:
        assert jobs == 1
        commands.append(list(command))
        numbers = {'time_median_of_ratios': 1.0 + 0.25 * len(commands), 'memory_ratio': 1.1}
        Path(command[list(command).index('--out') + 1]).write_text(json.dumps(numbers))

    monkeypatch.setattr(cost, 'execute', execute)
    return commands


def test_a_ratio_is_measured_once(measured: list[list[str]], tmp_path: Path) -> None:
    assert step_ratio('taught', TAUGHT, PLAIN, ('p', 't'), tmp_path) == 1.25
    assert step_ratio('taught', TAUGHT, PLAIN, ('p', 't'), tmp_path, jobs=None) == 1.25
    assert len(measured) == 1 and measured[0][3] == 'overhead'
    config, baseline = (Config.fromfile(measured[0][index]) for index in (4, 6))
    assert (config.x, baseline.x) == (2, 1)
    record = json.loads((tmp_path / 'cost' / 'taught.json').read_text())
    assert record['ratio'] == 1.25 and record['memory_ratio'] == 1.1


def test_other_settings_and_a_damaged_record_are_measured_again(measured: list[list[str]], tmp_path: Path) -> None:
    step_ratio('taught', TAUGHT, PLAIN, ('p', 't'), tmp_path)
    assert step_ratio('taught', Config({'x': 3}), PLAIN, ('p', 'x'), tmp_path) == 1.5
    assert step_ratio('taught', Config({'x': 3}), TAUGHT, ('t', 'x'), tmp_path) == 1.75
    (tmp_path / 'cost' / 'taught.json').write_text('{"ratio": 1')
    assert step_ratio('taught', Config({'x': 3}), TAUGHT, ('t', 'x'), tmp_path) == 2.0


def test_a_ratio_of_an_earlier_version_is_taken(
    measured: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('mmengine.config.config.FormatCode', lambda text, **style: (f'{text} laid out', True))
    before = [hashlib.sha256(config.pretty_text.encode()).hexdigest()[:16] for config in (PLAIN, TAUGHT)]
    (tmp_path / 'cost').mkdir()
    (tmp_path / 'cost' / 'taught.json').write_text(json.dumps({'configs': before, 'ratio': 3.0}))
    assert step_ratio('taught', TAUGHT, PLAIN, ('p', 't'), tmp_path, jobs=None) == 3.0
    assert step_ratio('taught', Config({'x': 3}), PLAIN, ('p', 'x'), tmp_path) == 1.25


def test_a_report_measures_nothing(measured: list[list[str]], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"taught\.json' holds no step time of these settings"):
        step_ratio('taught', TAUGHT, PLAIN, ('p', 't'), tmp_path, jobs=None)
    assert not measured


def write_log(folder: Path, start: str, rows: Sequence[tuple[int, float]]) -> None:
    path = folder / start / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    lines = [{'lr': 0.1, 'loss': 1.0, 'time': time, 'step': step} for step, time in rows]
    path.write_text(''.join(json.dumps(line) + '\n' for line in [*lines, {'AP': 0.5, 'time': 9.0, 'step': 1}]))


def test_steps_that_a_resumed_run_repeats_count_once(tmp_path: Path) -> None:
    write_log(tmp_path, '20260101_000000', [(10, 0.1), (20, 0.2), (30, 5.0)])
    write_log(tmp_path, '20260102_000000', [(30, 0.3)])
    seconds, steps = logged_time(tmp_path)
    assert seconds == pytest.approx(1.0 + 2.0 + 3.0) and steps == 30
    assert logged_time(tmp_path / 'none') == (0.0, 0)


def test_without_a_measurement_the_ratio_comes_from_the_logs(tmp_path: Path) -> None:
    for seed, (slow, fast) in enumerate([(0.3, 0.2), (0.5, 0.25), (0.4, 0.1)]):
        write_log(tmp_path / 'taught' / f'seed_{seed}', '20260101_000000', [(10, slow)])
        write_log(tmp_path / 'plain' / f'seed_{seed}', '20260101_000000', [(20, fast)])
    plain, taught = Arm('plain', 'a.py', 1), Arm('taught', 'b.py', 1)
    found = cost_of(taught, plain, [0, 1, 2], tmp_path, None)
    assert found == {'step': pytest.approx(2.0), 'measured': False, 'seconds': pytest.approx(4.0)}
    assert cost_of(taught, plain, [0], tmp_path, 1.25)['step'] == 1.25
    assert str(cost_of(taught, plain, [7], tmp_path, None)['step']) == 'nan'


def test_times_of_two_machines_are_not_compared(tmp_path: Path) -> None:
    plain, taught = Arm('plain', 'a.py', 1), Arm('taught', 'b.py', 1)

    def recorded(seconds: float, place: str, ratio: float | None = None) -> Recorded:
        return Recorded(Record('f', 1, {}, {}, seconds, 10, 1, place, {}, ratio=ratio), RunLog())

    taken = {
        'plain': {0: recorded(10.0, 'here'), 1: recorded(10.0, 'there'), 2: recorded(10.0, '')},
        'taught': {0: recorded(15.0, 'here'), 1: recorded(90.0, 'here'), 2: recorded(90.0, '', 1.5)},
    }
    cost = cost_of(taught, plain, [0, 1, 2], tmp_path, None, taken)
    assert cost == {'step': 1.5, 'measured': False, 'seconds': 52.5}, 'a mean over two machines says nothing'
    assert cost_of(taught, plain, [0, 1, 2], tmp_path, None, taken, preferred='')['seconds'] == 90.0
    assert place_of_most({'plain': [0, 1, 2], 'taught': [1]}, tmp_path, taken) == 'here'


def test_a_folder_that_moved_keeps_the_machine_of_each_run(tmp_path: Path) -> None:
    plain, taught = Arm('plain', 'a.py', 1), Arm('taught', 'b.py', 1)
    places = {plain: ('old', 'here', 'here+old'), taught: ('here', 'here', 'here+old')}
    for arm, time in ((plain, 0.2), (taught, 0.4)):
        for seed, place in enumerate(places[arm]):
            folder = tmp_path / arm.name / f'seed_{seed}'
            write_log(folder, '20260101_000000', [(10, time * (1 + 9 * (place == 'old')))])
            write_record(folder, arm, place=place)
    cost = cost_of(taught, plain, [0, 1, 2], tmp_path, None)
    assert cost == {'step': pytest.approx(2.0), 'measured': False, 'seconds': pytest.approx(4.0)}
    assert cost_of(taught, plain, [0, 2], tmp_path, None)['step'] != cost['step'], 'no pair of one machine'
    preferred = place_of_most({'plain': [0, 1], 'taught': [0, 1]}, tmp_path)
    cost = cost_of(plain, plain, [0, 1, 2], tmp_path, 1.0, None, preferred)
    assert preferred == 'here' and cost['seconds'] == pytest.approx(2.0)
