"""Rows of class scores: names of COCO and Objects365, new classes, padding."""

from __future__ import annotations

import torch

from kd_plugins.conversion.classes import (
    COCO_IN_OBJECTS365,
    LABELS,
    PRIOR,
    Rows,
    class_count,
    known_classes,
    listed_classes,
    match_classes,
    simplified,
    take_rows,
)

OTHER_NAMES = {  # of the same class in COCO and in Objects365
    'bird', 'handbag', 'suitcase', 'skis', 'sports ball', 'bowl', 'orange', 'dining table', 'tv', 'teddy bear',
    'hair drier',
}  # fmt: skip


def test_table_of_coco_in_objects365_agrees_with_the_names_of_mmdetection() -> None:
    coco, objects = listed_classes(80), listed_classes(365)
    assert coco is not None and objects is not None
    assert len(set(COCO_IN_OBJECTS365)) == len(coco) == 80
    differing = {name for name, row in zip(coco, COCO_IN_OBJECTS365) if simplified(name) != simplified(objects[row])}
    assert differing == OTHER_NAMES
    assert [objects[COCO_IN_OBJECTS365[coco.index(name)]] for name in ('bird', 'tv')] == ['Wild Bird', 'Moniter/TV']
    assert listed_classes(20) is None


def test_names_of_the_rows_of_a_file() -> None:
    assert known_classes(20) is None
    coco, objects, raw = known_classes(80), known_classes(365), known_classes(366)
    assert coco is not None and objects is not None and raw is not None
    assert coco[0] == {'person'}
    assert raw == [set(), *objects]
    assert objects[COCO_IN_OBJECTS365[78]] == {'hair drier', 'hair dryer'}
    rows = match_classes(raw, listed_classes(80), 366, 80)
    assert rows.sources == tuple(1 + row for row in COCO_IN_OBJECTS365)
    assert match_classes(raw, listed_classes(365), 366, 365).sources == tuple(range(1, 366))


def test_rows_by_name_or_by_position() -> None:
    rows = match_classes([{'a'}, {'b'}, {'c'}], ['C', 'x', 'A'], 3, 3)
    assert (rows.sources, rows.new, rows.unchanged) == ((2, None, 0), [1], False)
    assert match_classes(None, ['x', 'y', 'z'], 3, 3).unchanged
    assert match_classes([{'a'}, {'b'}], None, 2, 3).new == [0, 1, 2]


def test_taken_rows() -> None:
    state = {
        'bbox_head.cls_branches.0.weight': torch.arange(6.0).view(3, 2),
        'bbox_head.cls_branches.3.bias': torch.arange(3.0),
        'bbox_head.reg_branches.0.0.bias': torch.ones(2),
        LABELS: torch.arange(8.0).view(4, 2),
    }
    assert class_count({'bbox_head.cls_branches.0.bias': torch.zeros(5)}) == 5
    taken = take_rows(state, Rows((2, None), 3), torch.Generator().manual_seed(0))
    assert taken['bbox_head.cls_branches.0.weight'][0].tolist() == [4, 5]
    bound = (6 / (2 + 2)) ** 0.5
    assert 0 < taken['bbox_head.cls_branches.0.weight'][1].abs().max() <= bound
    assert taken['bbox_head.cls_branches.3.bias'].tolist() == [2, torch.tensor(PRIOR).item()]
    assert torch.tensor(PRIOR).sigmoid().allclose(torch.tensor(0.01))
    assert taken['bbox_head.reg_branches.0.0.bias'] is state['bbox_head.reg_branches.0.0.bias']
    assert taken[LABELS].shape == (3, 2)
    assert taken[LABELS][0].tolist() == [4, 5] and taken[LABELS][2].tolist() == [6, 7]
    again = take_rows(state, Rows((2, None), 3), torch.Generator().manual_seed(0))
    assert all(torch.equal(value, again[name]) for name, value in taken.items())
    assert take_rows(state, Rows((0, 1, 2), 3), torch.Generator()) == state
    none = take_rows(state, Rows((None,), 3), torch.Generator())
    assert none[LABELS].shape == (2, 2) and none['bbox_head.cls_branches.0.weight'].shape == (1, 2)
