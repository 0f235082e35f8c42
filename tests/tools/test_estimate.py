"""Time estimates: schedules, durations, and their dependence on the machine."""

from __future__ import annotations

import pytest

from tools.setup import estimate


def test_next_task_starts_when_a_job_is_free() -> None:
    assert estimate.finish_times([4.0, 1.0, 2.0], jobs=2) == [1.0, 3.0, 4.0]
    assert estimate.finish_times([1.0, 2.0], jobs=1) == [1.0, 3.0]
    assert estimate.finish_times([1.0, 2.0], jobs=8) == [1.0, 2.0]
    assert estimate.finish_times([], jobs=2) == []


def test_durations_are_rounded_up_to_ten_seconds() -> None:
    assert estimate.duration(0.0) == '0 s'
    assert estimate.duration(31.0) == '40 s'
    assert estimate.duration(60.0) == '1 min 00 s'
    assert estimate.duration(605.0) == '10 min 10 s'


def test_demo_takes_longer_on_fewer_and_slower_cores() -> None:
    waits = [estimate.demo_seconds(cores, 1.0) for cores in (1, 2, 4, 8, 64)]
    assert waits == sorted(waits, reverse=True) and waits[0] == 2 * waits[1]
    assert estimate.demo_seconds(2, 3.0) == pytest.approx(3.0 * waits[1])


def test_machine_is_compared_with_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0.25 <= estimate.slowness() <= 8.0
    assert estimate.cores() >= 1
    monkeypatch.setattr(estimate, '_compile_seconds', lambda source: len(source) * 2.0 * estimate.REFERENCE)
    assert estimate.slowness() == pytest.approx(2.0)


def test_announcement_has_the_sum_and_a_line_for_each_part() -> None:
    text = estimate.announcement([('torch', 20.0), ('the demo', 200.0)], cores=2)
    assert text.splitlines() == [
        'This takes about 3 min 40 s on this machine (2 CPU cores, downloads at 10 MB/s):',
        '  torch            20 s',
        '  the demo   3 min 20 s',
    ]
