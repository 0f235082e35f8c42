"""Rows of classes by name: each layout of a head, and layouts that do not fit."""

from __future__ import annotations

import pytest
import torch

from kd_plugins.ops.class_rows import rows_by_class

OLD, NEW = ('cat', 'dog'), ('dog', 'cow', 'cat')


@pytest.mark.parametrize(
    ('saved', 'expected', 'class_major'),
    [
        ([1, 2], [2, -2, 1], False),
        ([1, 2, 9], [2, -2, 1, 9], False),
        # Two anchors with both classes each, and two values for each class.
        ([11, 12, 21, 22], [12, -2, 11, 22, -5, 21], False),
        ([11, 12, 21, 22], [21, 22, -3, -4, 11, 12], True),
    ],
)
def test_layouts(saved: list[float], expected: list[float], class_major: bool) -> None:
    own = -torch.arange(1.0, len(expected) + 1)
    rows = rows_by_class(torch.tensor(saved, dtype=torch.float64), own, OLD, NEW, class_major)
    assert rows is not None and rows.dtype == own.dtype
    assert rows.tolist() == expected and own[0] == -1
    kernels = rows_by_class(
        torch.tensor(saved).view(-1, 1, 1).expand(-1, 2, 3), own.view(-1, 1, 1).expand(-1, 2, 3), OLD, NEW, class_major
    )
    assert kernels is not None and kernels[:, 1, 2].tolist() == expected


def test_other_layouts_do_not_fit() -> None:
    for saved, own in (((5,), (3,)), ((2, 4), (3, 5)), ((2, 1), (3,)), ((), ()), ((4,), (3,)), ((2,), (4,))):
        assert rows_by_class(torch.ones(saved), torch.ones(own), OLD, NEW) is None


def test_fewer_classes_and_none_in_common() -> None:
    assert rows_by_class(torch.tensor([1.0, 2.0, 3.0]), torch.zeros(1), NEW, ('cat',)).tolist() == [3.0]
    assert rows_by_class(torch.tensor([1.0, 2.0]), torch.zeros(1), OLD, ('ox',)).tolist() == [0.0]
