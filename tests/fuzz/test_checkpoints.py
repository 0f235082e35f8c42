"""Every damaged checkpoint is refused in one sentence, and no file is changed."""

from __future__ import annotations

import copy
import hashlib
import io
import zipfile
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.runner.checkpoint import _load_checkpoint_to_model

from kd_plugins.checkpoints import load_checkpoint, load_weights
from kd_plugins.hooks import DistillHook
from kd_plugins.runner.launch import check_resumed_weights, set_resume
from kd_plugins.runner.weights import check_weights

from ..hooks.tiny_runs import ADAPTED, EMA, make_runner
from .judging import cases, judge
from .mutations import Mutation
from .steps import entry_of, take_first_step
from .worlds import world

pytestmark = pytest.mark.slow
BORN_AGAIN = 'gfl/gfl_r18_bccd_born-again.py'
DTYPES = (torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.complex64, torch.uint8)


@cache
def weights_file() -> bytes:
    """Return the checkpoint of a finished detector."""
    return Path(world('gfl').teacher_checkpoint).read_bytes()


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The checkpoint of a short run with an average and an adapter."""
    folder = tmp_path_factory.mktemp('trained') / 'run'
    make_runner(folder, [DistillHook({'gap': copy.deepcopy(ADAPTED)}, dict(EMA))], epochs=1).train()
    return (folder / 'epoch_1.pth').read_bytes()


@st.composite
def damaged_bytes(draw: st.DrawFn, whole: bytes) -> tuple[str, bytes, bool]:
    """Return what was done to the bytes of a file, the bytes, and whether the file cannot be used."""
    kind = draw(st.sampled_from(['truncated', 'truncated', 'flipped', 'flipped', 'noise', 'text', 'longer', 'shifted']))
    at = draw(
        st.one_of(st.integers(0, len(whole) - 1), st.integers(0, 4096), st.integers(len(whole) - 4096, len(whole) - 1))
    )
    if kind == 'truncated':
        return f'{kind} at {at}', whole[:at], True
    if kind == 'flipped':
        bit = draw(st.integers(0, 7))
        return f'{kind} bit {bit} at {at}', whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :], False
    if kind == 'noise':
        return kind, draw(st.binary(max_size=300)), True
    if kind == 'text':
        return (
            kind,
            draw(st.sampled_from([b'<!DOCTYPE html><html></html>', b'version https://git-lfs', b'{}', b'\n'])),
            True,
        )
    if kind == 'longer':
        return kind, whole + draw(st.binary(min_size=1, max_size=50)), False
    return f'{kind} at {at}', whole[:at] + whole[at + 1 :], False


def _change(state: Any, name: str, change: Callable[[Any], Any]) -> None:
    state[name] = change(state[name])


@st.composite
def damaged_content(draw: st.DrawFn, whole: bytes) -> tuple[str, bytes, bool]:
    """Return what was done to the content of a checkpoint, its bytes, and whether the file cannot be used."""
    content: Any = torch.load(io.BytesIO(whole), weights_only=False)
    state = content['state_dict']
    # A constant buffer of a head is not missed by an evaluation.
    tensors = [name for name, value in state.items() if value.dim() and not name.endswith('integral.project')]
    name = draw(st.sampled_from(tensors))
    kind = draw(
        st.sampled_from(
            ['dtype', 'shape', 'missing', 'extra', 'entry', 'state', 'part', 'whole', 'class', 'legacy', 'prefix']
        )
    )
    invalid = kind in ('shape', 'missing', 'class', 'whole')
    detail: Any = name
    if kind == 'dtype':
        dtype = draw(st.sampled_from(DTYPES))
        detail = f'{name} {dtype}'
        _change(state, name, lambda value: value.to(dtype))
    elif kind == 'shape':
        how = draw(st.sampled_from([lambda x: x[:-1], lambda x: x[None], lambda x: x.flatten()[:0], lambda x: x.sum()]))
        _change(state, name, how)
    elif kind == 'missing':
        del state[name]
    elif kind == 'extra':
        state[draw(st.sampled_from(['extra.weight', '', 'module.' + name + 'x']))] = torch.zeros(2)
    elif kind == 'entry':
        value = draw(st.sampled_from([None, 'text', 3, [1], {'a': 1}]))
        detail = f'{name} {value!r}'
        state[name] = value
    elif kind == 'state':
        detail = draw(st.sampled_from([None, [], 'text', 3, {}, torch.zeros(2), {1: torch.zeros(2)}, {'a': None}]))
        content['state_dict'] = detail
        invalid = True
    elif kind == 'part':
        part = draw(st.sampled_from(sorted(content, key=str)))
        value = draw(st.sampled_from(['GONE', None, [], 'text', 3, {}, torch.zeros(2), {'a': 1}]))
        detail = f'{part} {value!r}'
        if isinstance(value, str) and value == 'GONE':
            del content[part]
        else:
            content[part] = value
    elif kind == 'whole':
        content = draw(st.sampled_from([None, [], [state], 'text', 3, torch.zeros(2), (1, 2), {}, {'a': 1}]))
        detail = type(content).__name__
    elif kind == 'class':
        content['meta' if draw(st.booleans()) else 'own'] = draw(
            st.sampled_from([Fraction(1, 2), SimpleNamespace(a=1), Path('x'), Config(), print, Mutation])
        )
        detail = 'of another package'
    elif kind == 'prefix':
        content['state_dict'] = {f'module.{key}': value for key, value in state.items()}
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=kind != 'legacy')
    return f'{kind} {detail}'[:200], buffer.getvalue(), invalid


def digest(folder: Path) -> dict[str, str]:
    """Return the hash of every file below a folder."""
    files = (path for path in folder.rglob('*') if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def is_damaged(content: bytes) -> bool:
    """Return whether the bytes of a file are not those that were written, by the checksums of a zip archive."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.testzip() is not None
    except Exception:  # the reader of archives fails in many ways
        return True


def use(test: str, key: str, damage: tuple[str, bytes, bool], folder: Path, run: Callable[[str], Any]) -> None:
    """Write a damaged file, use it, and judge the outcome: one sentence with key and file, and no changed file."""
    description, content, invalid = damage
    folder.mkdir(exist_ok=True)
    file = folder / 'epoch_3.pth'
    file.write_bytes(content)
    before, error = digest(folder), None
    try:
        run(str(file))
    except Exception as raised:
        error = raised
    if digest(folder) != before:
        error = AssertionError('a file was changed')
    judge(
        test, description, error, [Mutation(tuple(key.split('.')), 'file', file.name, invalid or is_damaged(content))]
    )


damages = st.deferred(lambda: st.one_of(damaged_bytes(weights_file()), damaged_content(weights_file())))


@cases(60)
@given(damages)
def test_weights(tmp_path_factory: pytest.TempPathFactory, damage: tuple[str, bytes, bool]) -> None:
    """The way of ``kd_plugins test``: read, compare with the model, and let MMEngine load."""
    place = world('gfl')

    def evaluate(path: str) -> None:
        checkpoint = load_checkpoint(path)
        model = copy.deepcopy(place.pristine)
        check_weights(model, checkpoint, path)
        load_weights(model, checkpoint, path, strict=False)
        _load_checkpoint_to_model(model, torch.load(path, weights_only=False))

    use('weights to test', 'checkpoint', damage, place.folder / 'test', evaluate)


@cases(30)
@given(damages)
def test_teacher(damage: tuple[str, bytes, bool]) -> None:
    place, entry = world('gfl'), entry_of(BORN_AGAIN)

    def train(path: str) -> None:
        entry['teacher']['checkpoint'] = path
        take_first_step(entry, place)

    use('teacher', 'teacher.checkpoint', damage, place.folder / 'teacher', train)


@cases(20)
@given(data=st.data(), resumes=st.booleans())
def test_start_of_a_run(trained: bytes, tmp_path_factory: pytest.TempPathFactory, data: Any, resumes: bool) -> None:
    """The way of ``kd_plugins train`` with ``load_from`` and ``--resume``: a real run of MMEngine."""
    damage = data.draw(st.one_of(damaged_bytes(trained), damaged_content(trained)))
    folder = tmp_path_factory.mktemp('start')

    def train(path: str) -> None:
        config = Config({'work_dir': str(folder / 'run'), 'load_from': None if resumes else path, 'resume': False})
        set_resume(config, path if resumes else None)
        hooks = [DistillHook({'gap': copy.deepcopy(ADAPTED)}, dict(EMA))]
        runner = make_runner(folder / 'run', hooks, 2, load_from=config.load_from, resume=config.resume)
        if resumes:
            check_resumed_weights(runner, path)
        runner.train()

    if not resumes and damage[0].startswith(('shape', 'missing')):
        damage = (*damage[:2], False)  # a new run may start from a part of the weights
    use('start of a run', '--resume' if resumes else 'load_from', damage, folder / 'source', train)


def test_the_files_are_complete() -> None:
    """The starting point of every damage."""
    with zipfile.ZipFile(io.BytesIO(weights_file())) as archive:
        assert archive.testzip() is None
