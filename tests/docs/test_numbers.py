"""Intervals and spreads that pages, READMEs and suggestions quote are those of ``results/``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / 'README.md',
    *sorted(path for path in (ROOT / 'docs').rglob('*.md') if '_build' not in path.parts),
    *sorted((ROOT / 'configs').rglob('README.md')),
    *sorted((ROOT / 'kd_plugins' / 'suggestions').glob('*.py')),
]
# The table of all methods is compared with the results elsewhere, as it has differences that results.json lacks.
OTHER = {'docs/results/index.md'}
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


RESULTS = [json.loads(path.read_text(encoding='utf-8')) for path in sorted((ROOT / 'results').rglob('results.json'))]
DIFFERENCES = {values for results in RESULTS for values in measured(results, 'mean', 'low', 'high')}
# "A loses 0.8 [0.6, 1.0]" turns the sign of a difference.
DIFFERENCES |= {(-mean, -high, -low) for mean, low, high in DIFFERENCES}
SPREADS = {values for results in RESULTS for values in measured(results, 'mean', 'deviation')}


def plain(path: Path) -> str:
    """Return the text of a page on one line, with the strings of a module joined."""
    text = path.read_text(encoding='utf-8')
    return re.sub(r'\s+', ' ', re.sub(r"'\s*\n\s*'", '', text))


def agrees(text: str, value: float) -> bool:
    """Return whether a number in text is a value, rounded to as many digits."""
    return abs(float(text) - value) <= 0.5001 * 10 ** -len(text.partition('.')[2])


def is_measured(texts: tuple[str, ...], measurements: set[Numbers]) -> bool:
    """Return whether one measurement has all numbers of a text, of which empty ones fit any."""
    return any(
        all(not text or agrees(text, scale * value) for text, value in zip(texts, values, strict=True))
        for scale, values in product(SCALES, measurements)
    )


@pytest.mark.parametrize('path', PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_quoted_intervals_and_spreads_are_measured(path: Path) -> None:
    if path.relative_to(ROOT).as_posix() in OTHER:
        pytest.skip('compared in tests/comparison/test_overview.py')
    text = plain(path)
    wrong = [match[0] for match in INTERVAL.finditer(text) if not is_measured(match.groups(''), DIFFERENCES)]
    if path.parent.name != 'results':  # these pages show the APs of layers, which are in the logs
        wrong += [match[0] for match in SPREAD.finditer(text) if not is_measured(match.groups(), SPREADS)]
    assert not wrong, 'no results.json has these numbers; round them once, from results.json'


def test_pages_quote_numbers() -> None:
    assert sum(len(INTERVAL.findall(plain(path))) for path in PAGES) > 200
    assert is_measured(('', '0.6', '1.0'), DIFFERENCES) and not is_measured(('', '0.61', '1.17'), DIFFERENCES)
