"""Which runs count, and what is written about the arms; tests/commands/test_compare.py reads real log folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from kd_plugins.comparison.folder import states_of, with_points
from kd_plugins.comparison.members import BASELINE, CONTROL, DISTILLED, Member
from kd_plugins.comparison.plan import Arm
from kd_plugins.comparison.report import compare
from kd_plugins.comparison.results import Settings, collect, config_path
from kd_plugins.errors import ConfigError
from kd_plugins.runner.run_log import RunLog

pytest.importorskip('scipy')
VALUES = {'plain': [0.50, 0.52, 0.54, 0.5], 'taught': [0.52, 0.52, 0.57, 0.6], 'worse': [0.4, 0.5, 0.5, 0.4]}


def settings(folder: Path, **others: Any) -> Settings:
    """Three arms with a better one that is undecided after three seeds; the fourth seed is finished in all arms."""
    members = []
    for arm, row in VALUES.items():
        for seed, value in enumerate(row):
            path = folder / arm / f'seed_{seed}' / '20260101_000000' / 'vis_data' / 'scalars.json'
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps({'AP': value, 'step': 2}) + '\n')
        hooks = [{'type': 'EMAHook'}] if arm == 'worse' else []
        kind = DISTILLED if members else BASELINE
        members.append(Member(Arm(arm, f'{arm}.py', 2), Config({'custom_hooks': hooks}), kind))
    return Settings(members, **{'seeds': [0, 1, 2], 'more_seeds': [3], 'work_dir': folder, 'metrics': ['AP'], **others})


def test_the_further_seed_counts_for_the_undecided_pair_alone(tmp_path: Path) -> None:
    result, logs, extra = collect(settings(tmp_path), False, {'taught': 1.25}, ['a note'])
    assert result['seeds_of'] == {'plain': [0, 1, 2, 3], 'taught': [0, 1, 2, 3], 'worse': [0, 1, 2]}
    assert sorted(logs['worse']) == [0, 1, 2] and extra['added_seeds'] == [3]
    about = extra['about']
    assert (about['plain']['step'], about['taught']['step']) == (1.0, 1.25) and about['taught']['measured']
    assert [about[arm]['weights'] for arm in VALUES] == ['raw', 'raw', 'averaged']
    assert extra['notes'] == ['a note'] and extra['points'] == []


def test_a_missing_baseline_is_named(tmp_path: Path) -> None:
    given = settings(tmp_path, against=['taught'])
    shutil.rmtree(tmp_path / 'plain')
    result, _, extra = collect(given, False, {}, ['a note'])
    assert list(result['arms']) == ['taught', 'worse'] and extra['about']['taught']['step'] == 1.0
    assert extra['notes'] == [
        'a note',
        'plain, the baseline, has no finished seed in common with another arm yet, so the differences are those to '
        'taught',
    ]


def test_without_further_seeds_nothing_is_undecided(tmp_path: Path) -> None:
    assert settings(tmp_path, more_seeds=[]).undecided() == []


def test_every_named_metric_must_be_logged(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--metric: 'AQ' is not in the logs of every run; nearest: 'AP'"):
        collect(settings(tmp_path, metrics=['AP', 'AQ']), False, {}, [])


def test_a_written_config_is_named_within_the_folder(tmp_path: Path) -> None:
    path = str(tmp_path / 'configs' / 'a.py')
    given = Member(Arm('a', path, 2), Config(), DISTILLED)
    made = Member(Arm('a', path, 2), Config(), CONTROL, 'a control')
    assert config_path(given, tmp_path) == path and config_path(made, tmp_path) == 'configs/a.py'


def test_points_are_for_fractions_that_are_no_errors() -> None:
    rows = {'AP': 0.5, 'mAP_percent': 55.0, 'rare_precision': -1.0, 'NME': 0.1}
    logs = {arm: {0: RunLog({name: {1: value} for name, value in rows.items()})} for arm in ('plain', 'taught')}
    assert with_points(compare(logs, 'AP'))['points'] == ['AP', 'rare_precision']


def test_the_state_of_a_run_tells_its_starts(tmp_path: Path) -> None:
    settings(tmp_path)
    (tmp_path / 'plain' / 'seed_1' / '20260102_000000' / 'vis_data').mkdir(parents=True)
    (tmp_path / 'plain' / 'seed_7' / '20260102_000000' / 'vis_data').mkdir(parents=True)
    states = states_of([Arm('plain', 'plain.py', 2)], [0, 1, 7, 8], tmp_path)
    assert states == {
        'plain': {'0': 'finished', '1': 'finished after 2 starts', '7': 'not finished', '8': 'not started'}
    }
    tested = states_of([Arm('plain', 'plain.py', 2)], [0, 7], tmp_path, test_last=True)
    assert tested == {'plain': {'0': 'not tested', '7': 'not finished'}}, 'a run without its test is left out'
