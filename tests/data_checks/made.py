"""Small data sets of COCO's format for the tests of the data checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope

SIDE = 64


def image(path: Path, width: int = SIDE, height: int = SIDE, **options: Any) -> None:
    """Write an image with PIL, whose arguments of ``save`` may be given."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.RandomState(0).randint(0, 255, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)


def content(names: tuple[str, ...] = ('cat', 'dog'), images: int = 4, first: int = 0) -> dict[str, Any]:
    """Return the content of an annotation file with two boxes in each image."""
    return {
        'images': [
            {'id': index + 1, 'file_name': f'{first + index}.jpg', 'width': SIDE, 'height': SIDE}
            for index in range(images)
        ],
        'annotations': [
            {
                'id': 2 * index + at + 1,
                'image_id': index + 1,
                'category_id': at % len(names) + 1,
                'bbox': [4.0, 4.0 + at, 20.0, 20.0],
                'area': 400.0,
                'iscrowd': 0,
                'segmentation': [[4, 4, 24, 4, 24, 24]],
            }
            for index in range(images)
            for at in range(2)
        ],
        'categories': [{'id': at + 1, 'name': name} for at, name in enumerate(names)],
    }


def write(path: Path, value: Any) -> str:
    """Write json and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return str(path)


def coco_config(root: Path, train: Any = None, val: Any = None, **dataset: Any) -> Config:
    """Write images and both annotation files into a folder; return the config that reads them.

    Args:
        root: Folder.
        train: Content of the training file; None for a valid one.
        val: Content of the validation file.
        dataset: Further keys of both data sets.
    """
    init_default_scope('mmdet')
    train, val = train or content(), val or content(first=10)
    for entry in [*train['images'], *val['images']]:
        if isinstance(entry.get('file_name'), str):
            image(root / 'images' / entry['file_name'])
    write(root / 'train.json', train)
    write(root / 'val.json', val)
    base = dict(type='CocoDataset', data_root=f'{root}/', data_prefix=dict(img='images/'), **dataset)
    base.setdefault('metainfo', dict(classes=('cat', 'dog')))
    return Config(
        dict(
            default_scope='mmdet',
            train_dataloader=dict(dataset=dict(base, ann_file='train.json')),
            val_dataloader=dict(dataset=dict(base, ann_file='val.json', test_mode=True)),
            val_evaluator=dict(type='CocoMetric', ann_file=f'{root}/val.json', metric='bbox'),
        )
    )
