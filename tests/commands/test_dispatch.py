"""From the words of a command line to a subcommand."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.commands import dispatch
from kd_plugins.commands.dispatch import ROOT, Command, Group
from kd_plugins.version import __version__


def paths(group: Group, words: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Command]]:
    """All subcommands of a group, with the words that lead to them."""
    found: list[tuple[tuple[str, ...], Command]] = []
    for name, entry in group.commands.items():
        found += paths(entry, (*words, name)) if isinstance(entry, Group) else [((*words, name), entry)]
    return found


SUBCOMMANDS = dict(paths(ROOT))


@pytest.mark.parametrize('words', SUBCOMMANDS, ids=' '.join)
def test_every_subcommand_has_a_module_with_a_parser(words: tuple[str, ...], capsys: Any) -> None:
    command = SUBCOMMANDS[words]
    module = import_module(f'kd_plugins.commands.{command.module}')
    assert callable(module.main) and command.summary
    with pytest.raises(SystemExit) as stopped:
        dispatch.main([*words, '--help'])
    assert stopped.value.code in (0, None)
    assert capsys.readouterr().out.startswith(f'usage: kd_plugins {" ".join(words[:1])}')


def test_what_a_terminal_cannot_show_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    written = BytesIO()
    monkeypatch.setattr(sys, 'stdout', TextIOWrapper(written, 'ascii', write_through=True))
    assert dispatch.main(['--version']) == 0
    print('0.1 \xb1 0.2')
    assert written.getvalue().endswith(b'0.1 \\xb1 0.2\n')


def test_arguments_reach_the_subcommand(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    module = import_module('kd_plugins.commands.make_digits')
    monkeypatch.setattr(module, 'main', lambda arguments: seen.append(arguments) or 3)
    assert dispatch.main(['data', 'digits', 'out', '--seed', '1']) == 3
    assert seen == [['out', '--seed', '1']]


@pytest.mark.parametrize(
    ('words', 'status', 'text'),
    [
        ([], 2, 'usage: kd_plugins COMMAND'),
        (['show'], 2, 'usage: kd_plugins show COMMAND'),
        (['tran'], 2, "error: kd_plugins has no command 'tran'; nearest: 'train'"),
        (['--verbose'], 2, "error: kd_plugins has no option '--verbose'"),
        (['show', 'graphs'], 2, "error: kd_plugins show has no command 'graphs'; nearest: 'graph'"),
    ],
)
def test_what_is_no_subcommand(words: list[str], status: int, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch.main(words) == status
    captured = capsys.readouterr()
    assert captured.err.startswith(text) and not captured.out


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch.main(['--help']) == 0
    out = capsys.readouterr().out
    assert all(f'\n  {name} ' in out for name in ROOT.commands)
    assert dispatch.main(['--version']) == 0
    assert capsys.readouterr().out == f'kd_plugins {__version__}\n'


def test_packages_that_do_not_fit_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise RuntimeError('operator torchvision::nms\ndoes not exist')

    monkeypatch.setattr(dispatch, 'load', broken)
    monkeypatch.delenv('KD_DEBUG', raising=False)
    assert dispatch.main(['train', 'config.py']) == 2
    error = capsys.readouterr().err
    assert error == (
        'error: kd_plugins cannot start (RuntimeError: operator torchvision::nms does not exist); '
        'kd_plugins doctor prints the fix\n'
    )
    monkeypatch.setenv('KD_DEBUG', '1')
    with pytest.raises(RuntimeError):
        dispatch.main(['train', 'config.py'])


@pytest.mark.parametrize('start', [['-m', 'kd_plugins'], [str(Path(sys.executable).with_name('kd_plugins'))]])
def test_both_ways_to_start(start: list[str], tmp_path: Path) -> None:
    command = [sys.executable, *start] if start[0] == '-m' else start
    if not Path(command[0]).exists():
        pytest.skip('the console command is not installed')
    done = subprocess.run([*command, '--version'], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f'kd_plugins {__version__}\n'), done.stderr


def test_help_needs_neither_torch_nor_mmengine(tmp_path: Path) -> None:
    for name in ('torch', 'mmengine'):
        (tmp_path / f'{name}.py').write_text("raise ImportError('not here')\n")
    code = (
        f'import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ["kd_plugins", "--help"]; '
        'from kd_plugins.commands.dispatch import main; sys.exit(main())'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0 and 'commands:' in done.stdout, done.stderr
