from __future__ import annotations

from typing import Any

import pytest
import torch

from kd_plugins.distillers import Batch
from kd_plugins.distillers.regions import Regions, Selection, teacher_is_right
from tests.distillers.common import make_batch, sentence

CENTERS = torch.tensor([[5.0, 5.0], [15.0, 15.0], [50.0, 50.0], [55.0, 55.0]])


def labelled(boxes: list[Any], labels: list[list[int]]) -> Batch:
    batch = make_batch(boxes)
    for sample, classes in zip(batch.data_samples or (), labels):
        sample.gt_instances.labels = torch.tensor(classes, dtype=torch.long)
    return batch


def scores(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor([rows])


TEACHER = scores([[0.8, 0.1], [0.3, 0.2], [0.05, 0.1], [0.6, 0.0]])
STUDENT = scores([[0.8, 0.5], [0.1, 0.2], [0.0, 0.0], [0.9, 0.0]])
BATCH = labelled([[[0.0, 0.0, 20.0, 20.0], [10.0, 10.0, 18.0, 18.0]]], [[0, 1]])


def test_truth() -> None:
    """The class of the smallest box inside boxes, a low probability outside."""
    assert teacher_is_right(TEACHER, CENTERS, BATCH, 'key').tolist() == [[True, False, True, False]]


def test_kinds_of_trust() -> None:
    expected = {
        None: [1.0, 1.0, 1.0, 1.0],
        'teacher': [0.8, 0.3, 0.1, 0.6],
        'difference': [0.4, 0.2, 0.1, 0.3],
        'truth': [1.0, 0.0, 1.0, 0.0],
    }
    for trust, values in expected.items():
        regions = Regions('key', None, trust)
        assert regions.active == (trust is not None) and regions.needs_student == (trust == 'difference')
        trusted = regions.trusted(TEACHER, STUDENT, CENTERS, BATCH)
        torch.testing.assert_close(trusted, torch.tensor([values]))


def test_weights_of_boxes() -> None:
    valid = torch.tensor([[True, True, True, False]])
    expected = {
        None: [0.8, 0.3, 0.1, 0.0],
        'teacher': [0.8, 0.3, 0.1, 0.0],
        'difference': [0.4, 0.2, 0.1, 0.0],
        'truth': [0.8, 0.0, 0.1, 0.0],
    }
    for trust, values in expected.items():
        weights = Regions('key', None, trust).box_weights(TEACHER, STUDENT, CENTERS, valid, BATCH)
        torch.testing.assert_close(weights, torch.tensor([values]))


@pytest.mark.parametrize(
    ('select', 'expected'),
    [
        (dict(ratio=0.5), [True, True, False, False]),  # 2 of the 3 valid locations
        (dict(ratio=0.3), [True, False, False, False]),
        (dict(ratio=1.0), [True, True, True, False]),
        (dict(score=0.3), [True, True, False, False]),
        (dict(score=0.0), [True, True, True, False]),
        (dict(score=1.0), [False, False, False, False]),
    ],
    ids=str,
)
def test_selection(select: dict[str, float], expected: list[bool]) -> None:
    regions = Regions('key', select, None)
    valid = torch.tensor([[True, True, True, False]])
    assert regions.selected(TEACHER.amax(dim=-1), valid).tolist() == [expected]
    torch.testing.assert_close(regions.shares['selected'], torch.tensor(sum(expected) / 3))


def test_no_selection_is_every_valid_location() -> None:
    regions = Regions('key', None, 'teacher')
    valid = torch.tensor([[True, False, True, False]])
    assert regions.selected(TEACHER.amax(dim=-1), valid) is valid and not regions.shares


def test_config_sentences() -> None:
    for value, match in (
        (0.01, r'key.select is 0.01; valid: None, dict\(ratio=0.01\)'),
        (dict(ratio=0.01, score=0.1), 'give either ratio'),
        (dict(), 'give either ratio'),
        (dict(others='zero'), 'give either ratio'),
        (dict(ratios=0.01), "has the entry 'ratios'; nearest: 'ratio'"),
        (dict(ratio=0), 'key.select.ratio is 0; it must be a finite number > 0'),
        (dict(ratio=1.5), 'key.select.ratio is 1.5; it must be at most 1'),
        (dict(score=-0.1), 'key.select.score is -0.1'),
        (dict(ratio=0.1, others='zeros'), "key.select.others is 'zeros'; nearest: 'zero'"),
    ):
        with sentence(match):
            Selection.parse('key.select', value, ('zero', 'ignore'))
    with sentence("key.select.others is 'zero'; valid: 'ignore'"):
        Regions('key', dict(ratio=0.1, others='zero'), None)
    with sentence("key.trust is 'teachers'; nearest: 'teacher'"):
        Regions('key', None, 'teachers')
    with sentence("key.trust is 'truth' and the outputs are no maps"):
        Regions('key', None, 'truth').trusted(TEACHER, None, None, BATCH)
