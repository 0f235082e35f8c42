"""MMSegmentation: noise images with rectangles of every class."""

from __future__ import annotations

import copy
from typing import Any

import torch
from mmengine.config import Config
from torch.utils.data import Dataset

from ..config.data_checks import dataset_classes
from ..config.loading import walk
from ..registry import DATASETS

IGNORED = 255


@DATASETS.register_module()
class GeneratedSegmentation(Dataset):
    """The same few images, as often as ``length`` asks.

    Args:
        classes: Class names, as the real data would have them.
        size: Height and width in pixels.
        channels: Number of channels.
        images: Number of different images.
        length: Number of items; schedules by epoch and warm-ups need a data set of ordinary length.
    """

    def __init__(
        self,
        classes: tuple[str, ...],
        size: tuple[int, int] = (128, 128),
        channels: int = 3,
        images: int = 8,
        length: int = 2000,
    ) -> None:
        self.metainfo = {'classes': tuple(classes)}
        self.length = length
        self.items = [self._image(index, tuple(size), channels) for index in range(images)]

    def _image(self, index: int, size: tuple[int, ...], channels: int) -> dict[str, Any]:
        from mmengine.structures import PixelData
        from mmseg.structures import SegDataSample

        generator = torch.Generator().manual_seed(index)
        count = len(self.metainfo['classes'])
        labels = torch.zeros(1, *size, dtype=torch.long)
        for label in [*range(1, min(count, 12)), IGNORED]:
            top, left = (int(torch.randint(side, (1,), generator=generator)) for side in size)
            labels[:, top : top + size[0] // 4, left : left + size[1] // 4] = label
        image = torch.randint(0, 96, (channels, *size), generator=generator) + 12 * (labels % IGNORED)
        info = dict(img_shape=size, ori_shape=size, pad_shape=size, img_path=f'generated_{index}.png')
        sample = SegDataSample(metainfo=info, gt_sem_seg=PixelData(data=labels))
        return {'inputs': image.to(torch.uint8), 'data_samples': sample}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        # The preprocessor changes samples in place, and their own clone() is shallow.
        return copy.deepcopy(self.items[index % len(self.items)])


def _class_count(config: Config) -> int:
    counts = [
        int(node['num_classes'])
        for path, node in walk(config.model, 'model')
        if 'num_classes' in node and 'decode_head' in path
    ]
    return max(counts, default=2)


def generated_dataset(config: Config, batch_size: int) -> dict[str, Any]:
    """Return the config of a data set that suits a segmentor.

    Args:
        config: The segmentor's whole config; where its preprocessor pads to the size of a training crop, it takes the
            size of these images instead.
        batch_size: Images per batch.
    """
    size = (128, 128)
    preprocessor = config.model.get('data_preprocessor') or {}
    if preprocessor.get('size') is not None:
        preprocessor['size'] = size
    count = _class_count(config)
    classes = dataset_classes(config)
    if classes is None or len(classes) != count:
        classes = tuple(f'class_{index}' for index in range(count))
    return dict(
        type='kd_plugins.GeneratedSegmentation',
        classes=classes,
        size=size,
        channels=len(preprocessor.get('mean') or (0, 0, 0)),
        images=4 * batch_size,
        length=1000 * batch_size,
    )
