"""Power by the spread of an earlier comparison."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.comparison.pilot import pilot_deviation, pilot_sentence
from kd_plugins.errors import ConfigError

pytest.importorskip('scipy')


def write(folder: Path, **others: Any) -> Path:
    rows = {'plain': [0.1, 0.2, 0.3], 'a': [0.2, 0.2, 0.3], 'b': [0.3, 0.3]}
    arms = {arm: {'AP': {'last': {'values': row}}} for arm, row in rows.items()}
    seeds = {'plain': [0, 1, 2], 'a': [0, 1, 2], 'b': [0, 2]}
    path = folder / 'results.json'
    path.write_text(json.dumps({'baseline': 'plain', 'arms': arms, 'seeds_of': seeds, **others}))
    return path


def test_the_spread_is_pooled_over_the_arms(tmp_path: Path) -> None:
    path = write(tmp_path)
    deviation, freedom = pilot_deviation(str(path), 'AP')
    # Differences of a: .1, 0, 0 with variance 1/300; of b: .2, 0 with variance .02.
    assert deviation == pytest.approx(math.sqrt((2 / 300 + 0.02) / 3)) and freedom == 3
    sentence = pilot_sentence(str(tmp_path), 'AP', 3)
    assert sentence.startswith(
        'with 3 seeds this comparison sees a difference of 0.3077 AP or more (80 % power at 5 %)'
    )


def test_a_report_without_seeds_of_each_arm_is_read(tmp_path: Path) -> None:
    write(tmp_path, seeds=[0, 1, 2], seeds_of=None)
    assert pilot_deviation(str(tmp_path), 'AP')[1] == 3


@pytest.mark.parametrize(
    ('text', 'metric', 'sentence'),
    [
        ('{', 'AP', r"--pilot: '.*' cannot be read as results\.json of a comparison"),
        ('{"arms": {}}', 'AP', 'cannot be read as results.json of a comparison: KeyError'),
        ('{"baseline": "a", "seeds": [0], "arms": {"a": {"AP": 1}}}', 'APs', "has no metric 'APs'; nearest: 'AP'"),
        (
            '{"baseline": "a", "seeds": [0], "arms": {"a": {"AP": {"last": {"values": [1]}}}}}',
            'AP',
            'has no arm with two seeds or more',
        ),
    ],
)
def test_a_file_that_does_not_help_is_one_sentence(tmp_path: Path, text: str, metric: str, sentence: str) -> None:
    path = tmp_path / 'results.json'
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        pilot_deviation(str(path), metric)
