"""Two implementations of one computation, in turn."""

from __future__ import annotations

import time

import pytest
import torch

from kd_plugins.profiling.sides import bytes_free, in_turn, relative_difference, seconds


def test_both_sides_go_first_equally_often() -> None:
    runs = list(in_turn(['ours', 'theirs'], 4))
    measured = [name for name, counts in runs if counts]
    assert [counts for _, counts in runs[:2]] == [False, False] and len(measured) == 8
    assert [measured[index] for index in range(0, 8, 2)] == ['theirs', 'ours', 'theirs', 'ours']


def test_time_by_a_clock() -> None:
    assert seconds(lambda: time.sleep(0.02), 'cpu') >= 0.02
    assert seconds(lambda: time.sleep(0.02), 'cpu', time.process_time) < 0.02


def test_differences_are_relative() -> None:
    expected = torch.tensor([3.0, 4.0], requires_grad=True)
    assert relative_difference(expected * 1.1, expected) == pytest.approx(0.1)
    assert relative_difference(torch.zeros(2), torch.zeros(2)) == 0


def test_free_memory_of_this_machine() -> None:
    free = bytes_free('cpu')
    assert free is None or free > 2**20
