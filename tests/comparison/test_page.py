"""Page of a comparison; tests/commands/test_compare.py compares one from logs with a committed page."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kd_plugins.comparison.page import differences_table, main_table, metrics_table, page
from kd_plugins.comparison.report import compare
from kd_plugins.runner.run_log import RunLog, without_nan

pytest.importorskip('scipy')


def values(metric: str = 'AP', against: tuple[str, ...] = (), last: float = 0.55, **others: Any) -> dict[str, Any]:
    rows = {'plain': [0.50, 0.52, 0.54], 'taught': [0.52, 0.55, last], 'random': [0.50, 0.53]}
    logs = {
        arm: {seed: RunLog({metric: {1: value}, 'AR': {1: 2 * value}}) for seed, value in enumerate(row)}
        for arm, row in rows.items()
    }
    about = {
        arm: {
            'kind': 'distilled',
            'text': '',
            'remarks': [],
            'weights': 'raw',
            'step': 1.5,
            'measured': True,
            'seconds': 90.0,
        }
        for arm in rows
    }
    about['random'].update(kind='control', text='a noisy teacher', remarks=['one', 'two'], step=None, seconds=None)
    extra = {
        'shown': [metric],
        'points': [],
        'about': about,
        'runs': {'taught': {'0': 'finished', '1': 'finished after 3 starts'}, 'random': {'2': 'not finished'}},
        'notes': ['the teacher is not counted'],
        'added_seeds': [2],
        'configs': {arm: f'{arm}.py' for arm in rows},
    }
    result: dict[str, Any] = json.loads(json.dumps(without_nan({**compare(logs, metric, against=against), **extra})))
    return {**result, **others}


def test_each_arm_is_a_row_with_its_cost_and_weights() -> None:
    headers, rows = main_table(values(against=('random',)))
    assert headers[:4] == ['arm', 'AP', 'difference to plain, 95 % interval', 'difference to random']
    assert headers[4:] == ['seeds', 'sees', 'step', 'training', 'weights']
    plain, taught, random = rows
    assert plain == ['plain', '0.5200 ± 0.0200', '', '', '3 (2 added)', '', '1.50', '1.5 min', 'raw']
    assert taught[1:3] == ['0.5400 ± 0.0173', '+0.0200 [-0.0048, +0.0448]']
    assert taught[3:5] == ['**+0.0200 [+0.0200, +0.0200]**', '3 (2 added)']
    assert random[4] == '2' and random[6:8] == ['', '']


def test_a_run_that_diverged_is_named() -> None:
    text = page(values(against=('random',), last=float('nan')))
    reason = 'because a run of one of them has no number for AP'
    assert f'- taught cannot be compared with plain, {reason}.' in text and '| taught | no number | no number |' in text
    assert '- taught is better than random by' in text, 'the seeds that both have are those before'


def test_each_pair_of_arms_is_shown_once() -> None:
    text = page(values(against=('taught', 'random')))
    assert text.count('random is worse than taught') == 1 and 'taught is better than random' not in text
    headers, rows = main_table(values(against=('taught', 'random')))
    assert 'difference to taught' in headers and 'difference to random' not in headers
    assert rows[2][3] and not rows[1][3]


def test_a_protocol_names_the_pairs_to_show() -> None:
    found = values(against=('taught', 'random'), contrasts=[['taught', 'random'], ['taught', 'plain']])
    headers, rows = main_table(found)
    assert headers[2:4] == ['difference to plain, 95 % interval', 'difference to random']
    assert [bool(row[3]) for row in rows] == [False, True, False]
    text = page(found)
    assert 'taught is better than random' in text and 'random is worse than taught' not in text
    assert 'are the ones that the protocol asks for' in text


def test_a_step_time_from_the_logs_says_so() -> None:
    found = values()
    found['about']['taught']['measured'] = False
    assert main_table(found)[1][1][5] == 'about 1.50'


def test_runs_of_two_machines_are_told() -> None:
    sentence = 'Some arms have runs of several machines or folders'
    for places, told in ((('a', 'b'), True), (('a', 'a'), False)):
        records = {'taught': {str(seed): {'place': place} for seed, place in enumerate(places)}}
        assert (sentence in page(values(records=records))) == told
    assert sentence not in page(values())


def test_further_metrics_have_tables_of_their_own() -> None:
    found = values(shown=['AP', 'AR'])
    assert metrics_table(found, ['AP', 'AR'])[1][0] == ['plain', '0.5200 ± 0.0200', '1.0400 ± 0.0400']
    headers, rows = differences_table(found, ['AR'], 'plain')
    assert headers == ['arm', 'AR'] and [row[0] for row in rows] == ['taught', 'random']
    text = page(found)
    assert 'Every metric:' in text and 'Differences to plain, with 95 % intervals:' in text
    assert 'Every metric:' not in page(values())


def test_the_page_says_what_happened() -> None:
    text = page(values())
    assert '- random (`random.py`): control, a noisy teacher; one; two.' in text
    assert '- the teacher is not counted.' in text
    assert (
        'Runs that were resumed or are missing: taught seed 1: finished after 3 starts; random seed 2: not finished.'
        in text
    )
    assert 'Further seeds (2) were added' in text and 'lower value' not in text and text.endswith('.\n')
    assert 'A lower value is better.' in page(values('NME')) and 'worse than plain by 0.0200 NME' in page(values('NME'))
    quiet = page(values(added_seeds=[], notes=[], runs={}))
    assert 'were added' not in quiet and 'are missing: none.' in quiet
