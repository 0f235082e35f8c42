"""Small segmentation data sets for the tests of the data checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from .made import SIDE, image


def mask(path: Path, pixels: Any = None, mode: str | None = None, **options: Any) -> None:
    """Write a mask with PIL; by default its left half is class 0 and its right half class 1."""
    from PIL import Image

    if pixels is None:
        pixels = halves(0, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(pixels))
    if mode == 'P':
        picture = Image.frombytes('P', picture.size, picture.tobytes())
        picture.putpalette([0, 0, 0, 200, 30, 30])
    picture.save(path, **options)


def halves(left: int, right: int, dtype: Any = np.uint8, width: int = SIDE, height: int = SIDE) -> np.ndarray:
    """Return a mask with one value on the left and another on the right."""
    pixels = np.full((height, width), left, dtype)
    pixels[:, width // 2 :] = right
    return pixels


def masks_config(root: Path, head: dict[str, Any] | None = None, count: int = 4, **dataset: Any) -> Config:
    """Write images and masks of training and validation into a folder; return the config that reads them.

    Args:
        root: Folder.
        head: Arguments of the decode head.
        count: Number of images of each part.
        dataset: Arguments of both data sets.
    """
    for part in ('train', 'val'):
        for index in range(count):
            image(root / 'img' / part / f'{part}{index}.jpg')
            mask(root / 'ann' / part / f'{part}{index}.png')

    def loader(part: str, **arguments: Any) -> dict[str, Any]:
        node = dict(type='BaseSegDataset', data_root=str(root), metainfo=dict(classes=('ground', 'crack')))
        node.update(data_prefix=dict(img_path=f'img/{part}', seg_map_path=f'ann/{part}'), **arguments)
        node.update(pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')], **dataset)
        return dict(batch_size=2, num_workers=0, dataset=node)

    return Config(
        dict(
            default_scope='mmseg',
            model=dict(decode_head=dict(type='FCNHead', **(dict(num_classes=2) if head is None else head))),
            train_dataloader=loader('train'),
            val_dataloader=loader('val', test_mode=True),
            val_evaluator=dict(type='IoUMetric'),
        )
    )
