"""Joined sources of MMCV, the progress of their compilation, kept wheels, and errors before a build."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools.setup import estimate, mmcv_build
from tools.setup.environment import Environment, InstallError

# As in MMCV, two files have the same template, one defines macros, and one takes all names of std.
SAME = """
template <typename T>
struct Pair { T first, second; };
template <typename T>
inline void add(T *address, const T &value) { *address += value; }
"""
SOURCES = {
    'pybind.cpp': '#include "helper.hpp"\nint main() { return align() + other() + low() + big(); }' + '\n' * 400,
    'helper.hpp': '#pragma once\nint align(); int other(); int low(); int big();\n',
    'contour.cpp': '#include <algorithm>\nusing namespace std;\nint big() { return max(0, 0); }\n',
    'other.cpp': '#include "helper.hpp"\n#include <algorithm>\nint other() { return std::min(0, 0); }\n',
    'cpu/align.cpp': f'{SAME}\nint align() {{ Pair<int> pair{{-1, 0}}; add(&pair.first, 1); return pair.first; }}\n',
    'cpu/low.cpp': f"""{SAME}
#define min(a, b) (((a) < (b)) ? (a) : (b))
int low() {{ int value = -1; add(&value, 1); return min(value, 3); }}
""",
}


def write_sources(root: Path) -> Path:
    folder = root / mmcv_build.OPS
    (folder / 'cpu').mkdir(parents=True)
    for name, text in SOURCES.items():
        (folder / name).write_text(text)
    return folder


def included(folder: Path) -> list[list[str]]:
    """Return the sources of each unit."""
    units = sorted(folder.glob('*.cpp'))
    lines = [unit.read_text().splitlines() for unit in units]
    return [[line.split('"')[1] for line in text if line.startswith('#include')] for text in lines]


def test_joined_sources_are_complete_and_name_nothing_twice(tmp_path: Path) -> None:
    folder = write_sources(tmp_path)
    mmcv_build.join_sources(folder)
    units = included(folder)
    sources = [Path(name).with_suffix('.inc').as_posix() for name in SOURCES if name.endswith('.cpp')]
    assert sorted(name for unit in units for name in unit) == sorted(sources)
    assert not any({'cpu/align.inc', 'cpu/low.inc'} <= set(unit) for unit in units)
    assert 'pybind.inc' in units[0]
    (low,) = [unit for unit in folder.glob('*.cpp') if 'low.inc' in unit.read_text()]
    assert '#undef min' in low.read_text()
    assert not list(folder.glob('cpu/*.cpp'))


def test_using_namespace_std_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmcv_build, 'UNITS', 2)
    folder = write_sources(tmp_path)
    mmcv_build.join_sources(folder)
    assert [unit[-1] for unit in included(folder) if 'contour.inc' in unit] == ['contour.inc']


@pytest.mark.skipif(not shutil.which('g++'), reason='needs a C++ compiler')
def test_joined_sources_compile_to_the_same_program(tmp_path: Path) -> None:
    folder = write_sources(tmp_path)
    mmcv_build.join_sources(folder)
    program = tmp_path / 'program'
    subprocess.run(['g++', *map(str, sorted(folder.glob('*.cpp'))), '-o', str(program)], check=True)
    assert subprocess.run([program]).returncode == 0


def test_progress_counts_source_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, 'slowness', lambda: 1.0)
    folder = write_sources(tmp_path)
    mmcv_build.join_sources(folder)
    progress = mmcv_build.CompileProgress(tmp_path, jobs=1)
    total = progress.expected[-1] + estimate.PACKING_SECONDS
    assert progress(0.0) == f'compiled 0 of 5 files, about {estimate.duration(total)} left'
    assert progress(1e6) == 'compiled 0 of 5 files, slower than expected'
    objects = tmp_path / 'build' / 'temp.linux' / mmcv_build.OPS
    objects.mkdir(parents=True)
    (objects / 'unit_0.o').touch()
    # The first unit took twice as long as expected, and so will the rest.
    seconds = 2.0 * progress.expected[1]
    counted = len(included(folder)[0])
    left = estimate.duration(2.0 * total - seconds)
    assert progress(seconds) == f'compiled {counted} of 5 files, about {left} left'
    for unit in folder.glob('*.cpp'):
        (objects / unit.with_suffix('.o').name).touch()
    assert progress(100.0 * total).startswith('compiled 5 of 5 files')
    assert mmcv_build.CompileProgress(tmp_path, jobs=1)(1e6) == 'compiled 5 of 5 files, nearly done'


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    """Return the calls of pip; each succeeds."""
    calls: list[tuple[tuple[str, ...], dict[str, Any]]] = []

    def pip(self: Environment, *args: str, **options: Any) -> bool:
        calls.append((args, options))
        return True

    monkeypatch.setattr(Environment, 'pip', pip)
    for name in ('CFLAGS', 'CXXFLAGS', 'CPPFLAGS', 'MAX_JOBS', 'KD_MMCV_WHEEL'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('PIP_CACHE_DIR', str(tmp_path / 'cache'))
    return calls


@pytest.mark.skipif(os.name == 'nt', reason='flags of GCC and Clang')
def test_flags_of_the_user_stay(tmp_path: Path, build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    env = Environment(tmp_path)
    monkeypatch.setenv('CPPFLAGS', '-DMINE')
    assert mmcv_build.compile_wheel(env, tmp_path / 'source')
    environ = build[-1][1]['environ']
    # CFLAGS would replace Python's own, with -O3 among them.
    assert environ['CPPFLAGS'] == '-DMINE -g0' and 'CFLAGS' not in environ
    assert environ['MAX_JOBS'] == str(estimate.cores())
    monkeypatch.setenv('CFLAGS', '-O2')
    monkeypatch.setenv('MAX_JOBS', '3')
    mmcv_build.compile_wheel(env, tmp_path / 'source')
    environ = build[-1][1]['environ']
    assert 'CPPFLAGS' not in environ and environ['MAX_JOBS'] == '3'


def test_ccache_gets_paths_relative_to_the_environment(tmp_path: Path, build: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(mmcv_build.shutil, 'which', lambda name: name if name == 'ccache' else None)
    mmcv_build.compile_wheel(Environment(tmp_path), tmp_path / 'source')
    assert build[-1][1]['environ']['CCACHE_BASEDIR'] == str(tmp_path)


def test_joined_build_that_fails_is_followed_by_one_file_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    env = Environment(tmp_path / 'venv')
    source = tmp_path / 'mmcv-2.1.0'
    write_sources(source)
    env.path.mkdir()
    archive = Path(shutil.make_archive(str(env.path / 'mmcv-2.1.0'), 'gztar', tmp_path, 'mmcv-2.1.0'))
    compiled: list[str] = []

    def compile_wheel(env: Environment, folder: Path) -> bool:
        compiled.append(folder.parent.name)
        if folder.parent.name == 'separate':
            (folder.parent / 'mmcv.whl').touch()
        return folder.parent.name == 'separate'

    monkeypatch.setattr(Environment, 'run', lambda self, code: subprocess.CompletedProcess([], 0, '', ''))
    monkeypatch.setattr(Environment, 'torch_version', lambda self: (2, 13))
    monkeypatch.setattr(mmcv_build, 'download', lambda *args: archive)
    monkeypatch.setattr(mmcv_build, 'check_compiler', lambda: None)
    monkeypatch.setattr(mmcv_build, 'compile_wheel', compile_wheel)
    for name in mmcv_build.OTHER_DEVICES:
        monkeypatch.delenv(name, raising=False)
    work = env.path / 'work'
    found = list(mmcv_build.wheels(env, 'mmcv==2.1.0', tmp_path / 'none', work))
    assert compiled == ['joined', 'separate'] and found == [work / 'separate' / 'mmcv.whl']
    assert (work / 'separate' / 'mmcv-2.1.0' / mmcv_build.OPS / 'other.cpp').exists()
    assert 'compiled one by one' in capsys.readouterr().out
    monkeypatch.setenv('FORCE_CUDA', '1')
    compiled.clear()
    list(mmcv_build.wheels(env, 'mmcv==2.1.0', tmp_path / 'none', work))
    assert compiled == ['separate']


def test_wheel_that_works_is_kept_for_the_next_environment(
    tmp_path: Path, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = Environment(tmp_path / 'venv')
    wheel = tmp_path / 'mmcv-2.1.0-py3-none-any.whl'
    wheel.write_text('compiled')
    # MMCV imports after it was installed.
    monkeypatch.setattr(
        Environment, 'run', lambda self, code: subprocess.CompletedProcess([], int(not build), 'cpython-311', '')
    )
    monkeypatch.setattr(Environment, 'versions', lambda self: {'torch': '2.13.0+cpu'})
    monkeypatch.setattr(mmcv_build, 'wheels', lambda env, requirement, kept, work: [wheel])
    assert mmcv_build.mmcv_wait('mmcv==2.1.0', 2, 1.0)[0] == "MMCV's ops, compiled"
    mmcv_build.install_mmcv(env, 'mmcv==2.1.0')
    (kept,) = (tmp_path / 'cache' / 'wheels').rglob('*.whl')
    assert kept.read_text() == 'compiled' and kept.name == wheel.name
    assert kept.parent.name.startswith('mmcv-2.1.0-torch-2.13.0+cpu-cpython-311-')
    assert mmcv_build.mmcv_wait('mmcv==2.1.0', 2, 1.0)[0] == 'MMCV, compiled before'


def test_wheel_of_the_user_that_does_not_fit_is_one_sentence(
    tmp_path: Path, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('KD_MMCV_WHEEL', 'mine.whl')
    answer = subprocess.CompletedProcess([], 1, '', 'Traceback\nImportError: undefined symbol: x\n')
    monkeypatch.setattr(Environment, 'run', lambda self, code: answer)
    with pytest.raises(
        InstallError, match=r'KD_MMCV_WHEEL=mine\.whl does not fit .*: ImportError: undefined symbol: x$'
    ):
        mmcv_build.install_mmcv(Environment(tmp_path), 'mmcv==2.1.0')


def test_missing_compiler_is_said_before_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PATH', '')
    monkeypatch.delenv('CXX', raising=False)
    with pytest.raises(InstallError, match='no C\\+\\+ compiler'):
        mmcv_build.check_compiler()


def test_the_standard_is_left_to_torch(tmp_path: Path) -> None:
    setup = tmp_path / 'setup.py'
    setup.write_text("extra_compile_args['cxx'] = ['-std=c++17']\nflags = ['-Wall', '-std=c++17']\n")
    mmcv_build.leave_standard_to_torch(setup)
    settings: dict[str, Any] = {'extra_compile_args': {}}
    exec(setup.read_text(), settings)
    assert settings['extra_compile_args'] == {'cxx': []} and settings['flags'] == ['-Wall']
