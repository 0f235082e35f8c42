"""Kills of tiny runs, and the comparison with undisturbed ones."""

from __future__ import annotations

import json
import random
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

kill = import_module('tools.benchmark.kill')


def test_the_first_difference_is_named() -> None:
    before = {'a': [torch.ones(2), 1.0], 'b': {'c': float('nan')}}
    same = {'a': [torch.ones(2), 1.0], 'b': {'c': float('nan')}}
    assert kill.first_difference(before, same) == ''
    assert kill.first_difference(before, {**same, 'a': [torch.zeros(2), 1.0]}) == '.a.0: tensors differ'
    assert kill.first_difference(before, {**same, 'a': [torch.ones(2).double(), 1.0]}) == '.a.0: tensors differ'
    assert kill.first_difference(before, {**same, 'b': {'c': 0.5}}) == '.b.c: nan and 0.5'
    assert kill.first_difference(before, {'a': same['a']}) == ": only one has ['b']"


def test_moments_of_every_kind_are_drawn() -> None:
    moments = [kill.draw_moment(random.Random(seed), (9.0, 4.0)) for seed in range(200)]
    assert {moment.name for moment in moments} == set(kill.MOMENTS)
    assert all(moment.delay <= {'anywhere': 9.0, 'iteration': 4.0, 'write': 0.003}[moment.name] for moment in moments)


def test_an_unknown_kind_is_one_sentence(run: Any, tmp_path: Path) -> None:
    outcome = run(kill, '--kinds', 'emu', '--out', tmp_path)
    assert outcome.status == 2 and "nearest: 'ema'" in outcome.error


@pytest.mark.slow
@pytest.mark.distributed
def test_runs_that_are_killed_end_as_if_they_were_not(run: Any, tmp_path: Path) -> None:
    # With this seed, the process is killed while it writes its third checkpoint, unless it writes faster than we look.
    arguments = ['--kinds', 'adapters', '--out', tmp_path, '--seed', '5']
    outcome = run(kill, '--kills', '1', *arguments)
    assert outcome.status == 0, outcome.out
    state = json.loads((tmp_path / 'state.json').read_text())
    assert sum(len(entry['kills']) for entry in state['runs']) == 1
    assert all(not entry['lost'] and not entry['differs'] for entry in state['runs'])
    # The same command has nothing left to do, and tells the same.
    assert run(kill, '--kills', '1', *arguments).out.count('adapters') == 1
