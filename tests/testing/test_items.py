"""Repeated items and class names of generated data."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.config import Config

from kd_plugins.testing.items import RepeatedItems, class_names, head_class_count


def test_items_repeat_and_are_never_shared() -> None:
    data = RepeatedItems([{'x': torch.zeros(2)}, {'x': torch.ones(2)}], 5, {'classes': ('a',)})
    assert len(data) == 5 and data.metainfo == {'classes': ('a',)}
    assert [float(data[index]['x'].sum()) for index in range(5)] == [0, 2, 0, 2, 0]
    data[0]['x'].fill_(7)
    assert float(data[0]['x'].sum()) == float(data[2]['x'].sum()) == 0


def config(**dataset: Any) -> Config:
    model = dict(
        rpn_head=dict(num_classes=1), roi_head=dict(bbox_head=[dict(num_classes=3), dict(num_classes=5)]), num_classes=9
    )
    return Config(dict(model=model, train_dataloader=dict(dataset=dict(type='D', ann_file='a.json', **dataset))))


def test_names_of_the_data_come_first() -> None:
    assert class_names(config(metainfo=dict(classes=('cat', 'dog'))), 5) == ('cat', 'dog')


@pytest.mark.parametrize(('part', 'count'), [('head', 5), ('rpn_head', 1), ('neck', 80)])
def test_the_largest_number_of_classes_among_the_heads(part: str, count: int) -> None:
    assert head_class_count(config(), part, default=80) == count
