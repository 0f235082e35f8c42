"""Generated data for MMSegmentation: noise images with rectangles of every class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from ..config.data_checks import dataset_classes
from ..config.loading import class_name, walk
from ..registry import DATASETS
from .items import RepeatedItems, head_class_count, numbered_classes

IGNORED = 255
"""Label of pixels that count in no loss."""


@DATASETS.register_module()
class GeneratedSegmentation(RepeatedItems):
    """Noise images in which rectangles of the classes, and of ignored pixels, have different grey values.

    Args:
        classes: Class names.
        size: Height and width in pixels.
        channels: Number of channels.
        num_items: Number of different images.
        length: Number of items of the data set.
        labelled: Whether the items have labels.
        edges: Config of the step that makes maps of edges from the labels, which some heads learn; None for none.
    """

    def __init__(
        self,
        classes: tuple[str, ...],
        size: tuple[int, int] = (128, 128),
        channels: int = 3,
        num_items: int = 8,
        length: int = 2000,
        labelled: bool = True,
        edges: dict[str, Any] | None = None,
    ) -> None:
        items = [self._image(index, classes, tuple(size), channels) for index in range(num_items)]
        if edges is not None and labelled:
            _add_edges(items, edges)
        if not labelled:
            for item in items:
                del item['data_samples'].gt_sem_seg
        super().__init__(items, length, {'classes': tuple(classes)})

    @staticmethod
    def _image(index: int, classes: Sequence[str], size: tuple[int, ...], channels: int) -> dict[str, Any]:
        from mmengine.structures import PixelData
        from mmseg.structures import SegDataSample

        generator = torch.Generator().manual_seed(index)
        labels = torch.zeros(1, *size, dtype=torch.long)
        for label in [*range(1, min(len(classes), 12)), IGNORED]:
            top, left = (int(torch.randint(side, (1,), generator=generator)) for side in size)
            labels[:, top : top + size[0] // 4, left : left + size[1] // 4] = label
        image = torch.randint(0, 96, (channels, *size), generator=generator) + 12 * (labels % IGNORED)
        info = dict(img_shape=size, ori_shape=size, pad_shape=size, img_path=f'generated_{index}.png')
        sample = SegDataSample(metainfo=info, gt_sem_seg=PixelData(data=labels))
        return {'inputs': image.to(torch.uint8), 'data_samples': sample}


def _add_edges(items: Sequence[dict[str, Any]], step: dict[str, Any]) -> None:
    """Add to each item the map of edges that a step of MMSegmentation makes, as its packing does."""
    from mmengine.structures import PixelData
    from mmseg.registry import TRANSFORMS

    made = TRANSFORMS.build(dict(step))
    for item in items:
        labels = item['data_samples'].gt_sem_seg.data[0].numpy().astype(np.uint8)
        edges = made({'gt_seg_map': labels, 'img_shape': labels.shape})['gt_edge_map']
        item['data_samples'].gt_edge_map = PixelData(data=torch.from_numpy(edges[None].astype(np.int64)))


def generated_dataset(config: Config) -> dict[str, Any]:
    """Return the config of a data set that suits a segmentor.

    Args:
        config: The segmentor's whole config. Where its preprocessor pads to the size of a training crop, that size is
            changed in place to the size of the generated images.
    """
    size = (128, 128)
    preprocessor = config.model.get('data_preprocessor') or {}
    if preprocessor.get('size') is not None:
        preprocessor['size'] = size
    steps = config.train_dataloader.get('dataset', {})
    count = head_class_count(config, 'decode_head', default=2)
    classes = dataset_classes(config)
    if classes is None or len(classes) != count:
        classes = numbered_classes(count)
    return dict(
        type='kd_plugins.GeneratedSegmentation',
        classes=classes,
        size=size,
        channels=len(preprocessor.get('mean') or (0, 0, 0)),
        edges=next((step for _, step in walk(steps) if class_name(step) == 'GenerateEdge'), None),
    )
