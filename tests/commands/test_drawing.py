"""The way from a command line to a picture."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

pytest.importorskip('matplotlib')
from kd_plugins.commands.drawing import add_picture_options, draw
from kd_plugins.errors import ConfigError
from kd_plugins.utils.figures import new_figure


def parser() -> ArgumentParser:
    made = ArgumentParser()
    made.add_argument('config')
    add_picture_options(made, 'default.png')
    return made


def empty_figure(config: Config, args: Namespace) -> Any:
    return new_figure(1, 1)


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / 'config.py'
    path.write_text("default_scope = 'mmengine'\na = dict(b=1)\n")
    return str(path)


def test_the_picture_is_written_and_named(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Any] = []

    def figure_of(config: Config, args: Namespace) -> Any:
        seen.append((config.a.b, args.device))
        return new_figure(1, 1)

    out = tmp_path / 'new' / 'a.svg'
    assert draw(parser(), figure_of, [config, '--out', str(out), '--cfg-options', 'a.b=2']) == 0
    assert out.read_text().lstrip().startswith('<?xml') and capsys.readouterr().out == f'{out}\n'
    assert seen == [(2, 'cpu')] and parser().parse_args([config]).out == 'default.png'


def test_a_wrong_name_is_refused_before_anything_is_drawn(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        draw(parser(), lambda config, args: pytest.fail('it was drawn'), [config, '--out', 'a.pgn'])
    assert "--out: 'a.pgn' does not end in a known format" in capsys.readouterr().err


def test_a_check_of_the_commands_own(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(args: Namespace) -> None:
        raise ConfigError('--top is 0; valid: 1 or more')

    with pytest.raises(SystemExit):
        draw(parser(), empty_figure, [config], refuse)
    assert '--top is 0; valid: 1 or more' in capsys.readouterr().err
