"""A COCO file of three images and three classes, with labels of some classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kd_plugins.registry import DATASETS

CLASSES = ('cat', 'dog', 'cow')


def data(folder: Path, **settings: Any) -> Any:
    """Build a data set of three images: with all three classes, without the last one, and empty."""
    box = {'bbox': [1, 1, 4, 4], 'area': 16, 'iscrowd': 0}
    pairs = [(1, 3), (1, 1), (1, 2), (2, 1)]
    content = {
        'images': [{'id': at, 'file_name': f'{at}.png', 'width': 8, 'height': 8} for at in (1, 2, 3)],
        'categories': [{'id': at + 1, 'name': name} for at, name in enumerate(CLASSES)],
        'annotations': [
            {'id': at, 'image_id': image, 'category_id': label, **box} for at, (image, label) in enumerate(pairs)
        ],
    }
    (folder / 'coco.json').write_text(json.dumps(content))
    usual: dict[str, Any] = dict(
        type='LabelledClassesCoco',
        data_root=str(folder),
        ann_file='coco.json',
        metainfo={'classes': CLASSES},
        pipeline=[],
        data_prefix=dict(img=''),
    )
    return DATASETS.build({**usual, **settings})
