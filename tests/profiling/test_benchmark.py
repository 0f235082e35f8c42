"""Command line of benchmarks of training steps."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.profiling.benchmark import add_step_options, check_sizes, check_steps, main


def parser() -> ArgumentParser:
    made = ArgumentParser()
    add_step_options(made, steps=20, warmup=3)
    return made


def test_numbers_are_written_with_their_folder(tmp_path: Path) -> None:
    seen: list[Namespace] = []

    def run(args: Namespace) -> dict[str, Any]:
        seen.append(args)
        return {'ratio': 1.25}

    out = tmp_path / 'new' / 'cost.json'
    assert main(parser(), run, ['--steps', '5', '--out', str(out), '--cfg-options', 'a.b=1']) == 0
    assert json.loads(out.read_text()) == {'ratio': 1.25}
    assert (seen[0].steps, seen[0].warmup, seen[0].generated, seen[0].cfg_options) == (5, 3, False, {'a.b': 1})


@pytest.mark.parametrize('options', [['--steps', '0'], ['--warmup', '0']])
def test_nothing_runs_without_steps(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(parser(), lambda args: pytest.fail('it ran'), options)
    assert stopped.value.code and 'both must be at least 1' in capsys.readouterr().err
    with pytest.raises(ConfigError, match='--steps is 0 and --warmup 3'):
        check_steps(Namespace(steps=0, warmup=3))


def test_a_check_of_the_benchmarks_own(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(args: Namespace) -> None:
        raise ConfigError('--layers is 0; valid: 1 or more')

    with pytest.raises(SystemExit):
        main(parser(), lambda args: {}, [], check=refuse)
    assert '--layers is 0; valid: 1 or more' in capsys.readouterr().err


def test_sizes_below_the_lowest_are_named() -> None:
    args = Namespace(points=[64, 0], channels=8)
    with pytest.raises(ConfigError, match='^--points is 0; nearest: 1$'):
        check_sizes(args, ('channels', 'points'))
    with pytest.raises(ConfigError, match='^--channels is 8; nearest: 16$'):
        check_sizes(args, ('channels',), lowest=16)
