"""Intervals and spreads that pages, READMEs and suggestions quote are those of ``results/``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kd_plugins.comparison.statistics import paired_difference

pytest.importorskip('scipy')
ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / 'README.md',
    *sorted(path for path in (ROOT / 'docs').rglob('*.md') if '_build' not in path.parts),
    *sorted((ROOT / 'configs').rglob('README.md')),
    *sorted((ROOT / 'kd_plugins' / 'suggestions').glob('*.py')),
]
NUMBER = r'[+-]?\d*\.\d+'
INTERVAL = re.compile(rf'(?:([+-]\d*\.\d+) )?\[({NUMBER}), ({NUMBER})\]')
SPREAD = re.compile(rf'({NUMBER}) ± ({NUMBER})')
# Results hold metrics between 0 and 1, or points; pages show either.
SCALES = (1.0, 100.0, 0.01)

Numbers = tuple[float, ...]


def measured(content: Any, *names: str) -> Iterator[Numbers]:
    """Yield the values of entries that nested results have side by side."""
    if isinstance(content, dict):
        values = tuple(content.get(name) for name in names)
        if None not in values:
            yield values
        content = list(content.values())
    if isinstance(content, list):
        for each in content:
            yield from measured(each, *names)


def paired(results: dict[str, Any]) -> Iterator[Numbers]:
    """Yield the differences of all pairs of arms by common seeds, of which results.json has those to the baseline."""
    for one, other in permutations(results['arms'], 2):
        seeds = results.get('seeds_of') or dict.fromkeys((one, other), results['seeds'])
        for metric in results['arms'][one].keys() & results['arms'][other].keys():
            first, second = (
                dict(zip(seeds[arm], results['arms'][arm][metric]['last']['values'])) for arm in (one, other)
            )
            common = [seed for seed in first if seed in second]
            if len(common) > 1:
                found = paired_difference([first[seed] for seed in common], [second[seed] for seed in common])
                yield found.mean, found.low, found.high


@cache
def scaled(kind: str) -> NDArray[np.float64]:
    """Return the measured intervals, with their mean, or spreads; one row for each, in every scale."""
    files = sorted((ROOT / 'results').rglob('results.json'))
    contents = [json.loads(path.read_text(encoding='utf-8')) for path in files]
    if kind == 'spreads':
        rows = {row for content in contents for row in measured(content, 'mean', 'deviation')}
    else:
        rows = {row for content in contents for row in (*measured(content, 'mean', 'low', 'high'), *paired(content))}
        # "A loses 0.8 [0.6, 1.0]" turns the sign of a difference.
        rows |= {(-mean, -high, -low) for mean, low, high in rows}
    return np.concatenate([scale * np.array(sorted(rows), dtype=float) for scale in SCALES])


def is_measured(texts: tuple[str, ...], kind: str) -> bool:
    """Return whether one measurement has all numbers of a text, rounded to as many digits; empty ones fit any."""
    rows = scaled(kind)
    fits = np.ones(len(rows), dtype=bool)
    for place, text in enumerate(texts):
        if text:
            fits &= np.abs(rows[:, place] - float(text)) <= 0.5001 * 10.0 ** -len(text.partition('.')[2])
    return bool(fits.any())


def plain(path: Path) -> str:
    """Return the text of a page on one line, with the strings of a module joined."""
    text = path.read_text(encoding='utf-8')
    return re.sub(r'\s+', ' ', re.sub(r"'\s*\n\s*'", '', text))


@pytest.mark.parametrize('path', PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_quoted_intervals_and_spreads_are_measured(path: Path) -> None:
    text = plain(path)
    wrong = [match[0] for match in INTERVAL.finditer(text) if not is_measured(match.groups(''), 'intervals')]
    if path.parent.name != 'results':  # these pages show the APs of layers, which are in the logs
        wrong += [match[0] for match in SPREAD.finditer(text) if not is_measured(match.groups(), 'spreads')]
    assert not wrong, 'no results.json has these numbers; round them once, from results.json'


def test_pages_quote_numbers() -> None:
    assert sum(len(INTERVAL.findall(plain(path))) for path in PAGES) > 200
    assert is_measured(('', '0.6', '1.0'), 'intervals') and not is_measured(('', '0.61', '1.17'), 'intervals')
