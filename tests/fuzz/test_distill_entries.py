"""Every change of a shipped distill entry ends in a valid run or in one sentence that names the key."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatch
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .judging import cases, judge
from .mutations import Mutation, holds, mutations
from .recipes import NOT_STEPPED
from .shipped import distilling, shipped_config
from .steps import add_parts, entry_of, take_first_step
from .worlds import world_of

pytestmark = pytest.mark.slow


def run(name: str, entry: Any) -> None:
    """Take the first steps of a shipped config with another distill entry."""
    steps = not any(fnmatch(name, pattern) for pattern in NOT_STEPPED)
    take_first_step(entry, world_of(name), bool(shipped_config(name).get('load_from')), steps)


@pytest.mark.parametrize('name', distilling())
def test_shipped_entry_is_valid(name: str) -> None:
    """The starting point of every change: the small student takes its steps, also with the added parts."""
    run(name, entry_of(name))
    entry = entry_of(name)
    add_parts(entry)
    run(name, entry)


def is_read(path: tuple[Any, ...]) -> bool:
    """Return whether a node of an entry is read here; the data set of unlabelled images is built by MMEngine, later."""
    return path[:3] != ('unlabelled', 'dataloader', 'dataset')


@st.composite
def changed_entries(draw: st.DrawFn) -> tuple[str, Any, list[Mutation]]:
    """Return a shipped config, its entry with one or two changes, and the changes."""
    name = draw(st.sampled_from(distilling()))
    entry = entry_of(name)
    if draw(st.booleans()):
        add_parts(entry)
    changes = [draw(mutations(entry, is_read))]
    if draw(st.integers(0, 4)) == 0:
        # The right name is known of the first change alone.
        changes.append(replace(draw(mutations(entry, is_read)), wanted=None))
    return name, entry, [change for change in changes if holds(entry, change)] or changes[-1:]


@cases(320)
@given(changed_entries())
def test_changed_entry(case: tuple[str, Any, list[Mutation]]) -> None:
    name, entry, changes = case
    error: BaseException | None = None
    try:
        run(name, entry)
    except Exception as raised:
        error = raised
    judge('distill entries', name, error, changes)
