"""Source of a distiller: one teacher or several."""

from __future__ import annotations

from typing import Any

import pytest

from kd_plugins.distillers import FeatureDistiller, LogitDistiller
from kd_plugins.distillers.sources import alias_beside, check_source, of_all_teachers, own_alias
from tests.distillers.common import sentence


@pytest.mark.parametrize(
    ('source', 'expected'),
    [('auto', ('auto', ())), ('student', ('student', ())), (('a', 'b', 'c'), ('a', ('b', 'c')))],
)
def test_sources(source: Any, expected: Any) -> None:
    assert check_source('distillers.x', source, 'LogitDistiller', combines=True) == expected


@pytest.mark.parametrize(
    ('source', 'match'),
    [
        (3, "distillers.x.source is 3; valid: 'auto', 'student', or the name of a teacher"),
        ([], r"source is \[\]; valid: 'auto'"),
        (['a', None], r"source is \['a', None\]; valid: 'auto'"),
        (['a'], r"source has \['a'\], .* two different teachers; for one, give its name alone, such as source='a'"),
        (['a', 'a', 'b'], r"source has \['a', 'a', 'b'\], .* two different teachers"),
        (['auto', 'b'], "source has 'auto', .* such as source='b'"),
    ],
)
def test_sentences(source: Any, match: str) -> None:
    with sentence(match):
        check_source('distillers.x', source, 'LogitDistiller', combines=True)


def test_which_distillers_combine() -> None:
    distiller = LogitDistiller('head', source=['a', 'b'])
    assert (distiller.source, distiller.others) == ('a', ('b',))
    with sentence(
        r"source is \['a', 'b'\], and FeatureDistiller learns from one teacher; give each teacher a distiller"
    ):
        FeatureDistiller('neck', source=['a', 'b'])


def test_aliases() -> None:
    outputs = {'x': [1], 'y': [2]}
    outputs.update({alias_beside(name, alias): [3] for name in ('b', 'c') for alias in ('x', 'y')})
    assert of_all_teachers(outputs, 'x') == [[1], [3], [3]]
    assert {own_alias(alias) for alias in outputs} == {'x', 'y'}
