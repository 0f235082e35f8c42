"""Arguments and printed lines of the commands that make data sets."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import pytest

from kd_plugins.commands.splits import add_split_options, make_splits


def parser() -> ArgumentParser:
    made = ArgumentParser()
    add_split_options(made, 'data/toys', num_train=40, num_val=10)
    return made


def test_defaults_are_those_of_the_shipped_configs() -> None:
    args = parser().parse_args([])
    assert (args.out, args.num_train, args.num_val, args.seed) == (Path('data/toys'), 40, 10, 0)


@pytest.mark.parametrize(('option', 'value'), [('--seed', '-1'), ('--num-train', '0'), ('--num-val', '-3')])
def test_numbers_out_of_their_range_are_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match='2'):
        parser().parse_args([option, value])
    assert f"argument {option}: '{value}' is no whole number" in capsys.readouterr().err


def test_both_splits_are_made_and_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made: list[tuple[str, int]] = []

    def make(split: str, count: int) -> bool:
        made.append((split, count))
        return split == 'train'

    make_splits(parser().parse_args([str(tmp_path), '--num-val', '3']), make)
    assert made == [('train', 40), ('val', 3)]
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f'train: 40 samples in {tmp_path / "train"}, made in ')
    assert second == f'val: 3 samples in {tmp_path / "val"}, already there'
