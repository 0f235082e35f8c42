"""Annotation files of the data sets that are made here, read by pycocotools."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kd_plugins.datasets.coco_writing import coco_object, tight_box, write_coco


def test_empty_mask_has_an_empty_box() -> None:
    assert tight_box(np.zeros((3, 4), dtype=bool)) == (0, 0, 0, 0)


def test_pycocotools_reads_the_file(tmp_path: Path) -> None:
    coco = pytest.importorskip('pycocotools.coco')
    images = [dict(id=0, file_name='a.png', width=8, height=6)]
    objects = [coco_object(1, 0, 1, (1, 2, 5, 4)), coco_object(2, 0, 0, (0, 0, 2, 3), area=4, crowd=True)]
    write_coco(tmp_path / 'annotations' / 'a.json', dict(recipe=1), images, objects, ('cat', 'dog'))
    read = coco.COCO(str(tmp_path / 'annotations' / 'a.json'))
    first, second = read.loadAnns([1, 2])
    assert first['bbox'] == [1, 2, 4, 2] and first['area'] == 8 and first['iscrowd'] == 0
    assert second['bbox'] == [0, 0, 2, 3] and second['area'] == 4 and second['iscrowd'] == 1
    assert [read.cats[entry['category_id']]['name'] for entry in (first, second)] == ['dog', 'cat']
    assert read.dataset['info'] == {'recipe': 1}
