"""Table of all methods: the committed one is up to date, and what its rows say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.comparison import report
from kd_plugins.comparison.overview import BEGIN, END, GROUPS, contrast, overview, read_methods, updated, verdict
from kd_plugins.comparison.report import compare
from kd_plugins.errors import ConfigError
from kd_plugins.runner.run_log import RunLog

pytest.importorskip('scipy')
ROOT = Path(__file__).parents[2]
PROTOCOL = """
question = 'Does it?'
arms = dict(plain=dict(config='a.py'), guess=dict(config='b.py'), taught=dict(config='c.py'))
metrics = ('AP',)
contrasts = (('taught', 'plain'), ('guess', 'plain'))
refuted_if = 'It does not.'
"""


def values(metric: str = 'AP', **arms: list[float]) -> dict[str, Any]:
    """Results of three seeds, or two in an arm with two values."""
    table = {arm: {metric: {'last': {'values': own}}} for arm, own in arms.items()}
    seeds_of = {arm: list(range(len(own))) for arm, own in arms.items()}
    about = {arm: {'step': 1.0 + place, 'measured': place < 2} for place, arm in enumerate(arms)}
    return {
        'metric': metric,
        'baseline': 'plain',
        'seeds': [0, 1, 2],
        'arms': table,
        'seeds_of': seeds_of,
        'about': about,
    }


def folder_of(root: Path, name: str, results: dict[str, Any] | None, protocol: str | None = PROTOCOL) -> None:
    (root / name).mkdir()
    if results is not None:
        (root / name / 'results.json').write_text(json.dumps(results))
    if protocol is not None:
        (root / name / 'protocol.py').write_text(protocol)


def rows(root: Path, methods: str) -> list[str]:
    (root / 'overview.py').write_text(methods)
    lines = [line for line in overview(root).splitlines() if line.startswith('|')]
    return [line for line in lines if not line.startswith(('|---', '| method'))]


def test_the_committed_table_is_that_of_the_committed_results() -> None:
    page = (ROOT / 'docs' / 'results' / 'index.md').read_text()
    assert updated(page, ROOT / 'results') == page, (
        'docs/results/index.md is out of date; `kd_plugins experiments --overview docs/results/index.md` writes it'
    )


def test_every_distiller_is_in_the_table() -> None:
    methods = read_methods(ROOT / 'results')
    pages = {method.docs for method in methods}
    assert {f'distillers/{path.name}' for path in ROOT.glob('docs/distillers/*.md')} - pages == set()
    assert all((ROOT / 'docs' / page).is_file() for page in pages)
    assert {method.group for method in methods} == set(GROUPS)


def test_rows(tmp_path: Path) -> None:
    folder_of(tmp_path, 'gains', values(plain=[0.50, 0.52, 0.51], guess=[0.4, 0.6], taught=[0.60, 0.63, 0.61]))
    folder_of(tmp_path, 'single', values(plain=[0.5], taught=[0.4]))
    folder_of(tmp_path, 'later', None)
    folder_of(tmp_path, 'ended', None, f'{PROTOCOL}stopped = "It was hopeless."\n')
    old = {
        key: value
        for key, value in values('NME', a=[1.0, 2.0], b=[1.5, 2.6]).items()
        if key not in ('seeds_of', 'about')
    }
    folder_of(tmp_path, 'old', {**old, 'baseline': 'a', 'seeds': [0, 1]}, None)
    made = rows(
        tmp_path,
        """
detectors = {
    'one': dict(docs='one.md', measured=[
        dict(result='gains', on='net'), dict(result='gains', on='net', pair=('guess', 'plain'), against='nothing'),
        dict(result='single', on='net'), dict(result='later', on='net'), dict(result='ended', on='net'),
        dict(result='old', on='net', pair=('b', 'a'), page='other.md', step=1.5),
    ]),
    'two': dict(docs='two.md'),
}
""",
    )
    assert made == [
        '| [one](../one.md) | [net](gains.md) | AP | plain: 51.00 ± 1.00 | 61.33 ± 1.53 | **+10.33 [+8.90, +11.77]** '
        '| 3 | about 3.00 | **helps** |',
        '|  | [net](gains.md) | AP | nothing: 51.00 ± 1.41 | 50.00 ± 14.14 | -1.00 [-115.36, +113.36] | 2 '
        '| 2.00 | nothing seen (sees 147.01) |',
        '|  | [net](single.md) | AP | plain: 50.00 | 40.00 | -10.00 one seed | 1 | 2.00 | one seed |',
        '|  | net |  | plain |  |  |  |  | not measured, [planned](../../results/later/protocol.py) |',
        '|  | net |  | plain |  |  |  |  | not measured, [stopped](../../results/ended/protocol.py) |',
        '|  | [net](other.md) | NME | a: 1.5000 ± 0.7071 | 2.0500 ± 0.7778 | +0.5500 [-0.0853, +1.1853] | 2 '
        '| 1.50 | nothing seen (sees 0.8167) |',
        '| [two](../two.md) |  |  |  |  |  |  |  | not measured |',
    ]


def test_a_lower_error_helps_and_a_higher_one_loses() -> None:
    for taught, word in (([0.2, 0.21, 0.2], '**helps**'), ([0.6, 0.61, 0.6], '**loses**')):
        results = values('NME', plain=[0.4, 0.4, 0.4], taught=taught)
        change = contrast(results, ('taught', 'plain'))
        assert change is not None and change['count'] == 3 and verdict(results, change) == word
    assert contrast(results, ('missing', 'plain')) is None


def test_pairs_that_lack_the_baseline_count_as_on_the_page() -> None:
    rows = {'plain': [0.5, 0.5], 'old': [0.5, 0.6, 0.9], 'new': [0.6, 0.71, 0.95]}
    logs = {arm: {seed: RunLog({'AP': {1: one}}) for seed, one in enumerate(own)} for arm, own in rows.items()}
    result = compare(logs, 'AP', against=['old'])
    change = contrast(result, ('new', 'old'))
    assert change is not None and change['count'] == 3 == result['against']['old']['new']['AP']['count']
    assert change['arms'][0]['mean'] == pytest.approx(2 / 3)
    assert 'spread between seeds (0.2082)' in report.verdict(result, 'new', 'old'), 'of the seeds of the difference'


def test_a_run_without_a_number_is_not_left_out(tmp_path: Path) -> None:
    results = values(plain=[0.5, 0.52, 0.51], taught=[0.6, None, 0.62])  # type: ignore[list-item]
    change = contrast(results, ('taught', 'plain'))
    assert change is not None and change['seeds'] == [0, 1, 2] and change['mean'] != change['mean']
    folder_of(tmp_path, 'gains', results)
    (row,) = rows(tmp_path, "detectors = {'one': dict(docs='o', measured=[dict(result='gains', on='net')])}")
    assert 'plain: 51.00 ± 1.00 | no number | no number | 3 |' in row and row.endswith('| no number |')


@pytest.mark.parametrize(
    ('methods', 'message'),
    [
        ("detectors = {'one': dict(docs='one.md')}", "overview.py' has no entry for 'gains'; add it to the 'measured'"),
        ("detector = {'one': dict(docs='one.md')}", "'detector'; nearest: 'detectors'"),
        (
            "detectors = {'one': dict(docs='o', measured=[dict(result='gains', on='x', pair=('tauht', 'plain'))])}",
            "'tauht'",
        ),
        ("detectors = {'one': dict(docs='o', measured=[dict(result='none', on='x')])}", 'has no protocol, whose first'),
        ('detectors = {', 'cannot be read'),
        ("detectors = {'one': dict(measured=[])}", 'detectors.one has measured and no docs; add it'),
        (
            "detectors = {'one': dict(docs='o', measured=[dict(result='gains')])}",
            'measured has result and no on; add it',
        ),
        (
            "detectors = {'one': dict(docs='o', measured=[dict(result='gains', on='x', pair='taught')])}",
            "pair is 'taught'; give two arms",
        ),
    ],
)
def test_faults_are_one_sentence(tmp_path: Path, methods: str, message: str) -> None:
    folder_of(tmp_path, 'gains', values(plain=[0.5], taught=[0.6]))
    with pytest.raises(ConfigError) as caught:
        rows(tmp_path, methods)
    assert message in str(caught.value)


def test_the_page_keeps_what_lies_around_the_table(tmp_path: Path) -> None:
    (tmp_path / 'overview.py').write_text("detectors = {'one': dict(docs='one.md')}")
    page = updated(f'before\n{BEGIN}\nold\n{END}\nafter\n', tmp_path)
    assert (
        page.startswith(f'before\n{BEGIN}\n\n## Detectors') and page.endswith(f'{END}\nafter\n') and 'old' not in page
    )
    with pytest.raises(ConfigError, match='the page lacks the line'):
        updated('nothing', tmp_path)
