"""Numbers of images and annotations in COCO files."""

from __future__ import annotations

from pathlib import Path

from kd_plugins.datasets.sources.coco import write_coco
from tests.datasets.sources.tiny_archives import read_json


def test_numbers_count_on_across_images(tmp_path: Path) -> None:
    box = {'category_id': 1, 'bbox': [0.0, 0.0, 2.0, 3.0], 'area': 6.0}
    entries = [({'file_name': 'a.jpg'}, [box, box]), ({'file_name': 'b.jpg'}, []), ({'file_name': 'c.jpg'}, [box])]
    write_coco(tmp_path / 'coco' / 'train.json', entries, [{'id': 1, 'name': 'cell'}])
    content = read_json(tmp_path / 'coco' / 'train.json')
    assert [image['id'] for image in content['images']] == [1, 2, 3]
    assert [(entry['id'], entry['image_id'], entry['iscrowd']) for entry in content['annotations']] == [
        (1, 1, 0),
        (2, 1, 0),
        (3, 3, 0),
    ]
    assert content['categories'] == [{'id': 1, 'name': 'cell'}]
