"""Every damaged config file, and every changed chain of stages, is read or refused in one sentence."""

from __future__ import annotations

import copy
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config

from kd_plugins.config.loading import load_config
from kd_plugins.stages.spec import read_stages, stage_config

from .judging import cases, judge
from .mutations import Mutation, mutations
from .shipped import CONFIGS, holding, shipped, shipped_config

pytestmark = pytest.mark.slow
FRAGMENTS = (
    '(',
    ')',
    "'",
    ' ',
    '\n',
    ',',
    '=',
    '\\',
    '\x00',
    'é',
    '{{',
    '}}',
    '_base_.',
    '**',
    '#',
    '1/0',
    'import nothing\n',
)


@cache
def copied() -> Path:
    """Return a copy of the shipped configs, in which files may be changed."""
    folder = Path(mkdtemp(prefix='kd_plugins_fuzz_')) / 'configs'
    shutil.copytree(CONFIGS, folder)
    return folder


@st.composite
def changed_texts(draw: st.DrawFn) -> tuple[str, str, str]:
    """Return a shipped config, what was done to its text, and the text."""
    name = draw(st.sampled_from(shipped()))
    text = (CONFIGS / name).read_text(encoding='utf-8')
    at = draw(st.integers(0, len(text) - 1))
    kind = draw(st.sampled_from(['cut', 'drop', 'insert', 'base']))
    if kind == 'cut':
        return name, f'cut at {at}', text[:at]
    if kind == 'drop':
        return name, f'without letter {at}', text[:at] + text[at + 1 :]
    if kind == 'insert':
        fragment = draw(st.sampled_from(FRAGMENTS))
        return name, f'{fragment!r} at {at}', text[:at] + fragment + text[at:]
    base = draw(
        st.sampled_from(["'./nowhere.py'", '3', 'None', "['./nowhere.py']", "'mmdet::nowhere.py'", "'x::y.py'"])
    )
    return name, f'_base_ = {base}', f'_base_ = {base}\n'


@cases(6)
@given(changed_texts())
def test_changed_text(case: tuple[str, str, str]) -> None:
    name, description, text = case
    file = (copied() / name).with_name('fuzz_changed.py')
    file.write_text(text, encoding='utf-8')
    error: BaseException | None = None
    try:
        load_config(str(file))
    except Exception as raised:
        error = raised
    judge('config files', f'{name} {description}', error, [Mutation(('config',), 'text', file.name, False)])


@cache
def chains() -> tuple[str, ...]:
    """Return the shipped chains of trainings."""
    return holding('\nstages = ')


@st.composite
def changed_chains(draw: st.DrawFn) -> tuple[str, Any, Mutation]:
    """Return a shipped chain, its stages with one change, and the change."""
    name = draw(st.sampled_from(chains()))
    stages = {'stages': copy.deepcopy(shipped_config(name).stages.to_dict())}
    return name, stages, draw(mutations(stages))


@cases(4)
@given(changed_chains())
def test_changed_chain(case: tuple[str, Any, Mutation]) -> None:
    name, stages, change = case
    error: BaseException | None = None
    try:
        for stage in read_stages(Config(stages, filename=str(CONFIGS / name)), name):
            if stage.name in map(str, change.path) and stage.config is not None:
                stage_config(stage, {})
    except Exception as raised:
        error = raised
    judge('chains', name, error, [change])
