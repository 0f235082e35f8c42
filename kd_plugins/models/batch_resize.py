"""Multi-scale training on batches: each batch gets one size of a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dist import get_rank
from mmengine.logging import MessageHub
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from ..registry import MODELS
from ..utils.argument_types import shown
from ..utils.checks import check_flag, check_integer, is_integer

KEY = 'model.data_preprocessor.batch_augments: BatchListResize'


@MODELS.register_module()
class BatchListResize(nn.Module):
    """Resize each training batch to a size that is drawn from a list, nearest neighbour, until an epoch.

    A size that stands in the list several times is drawn as many times as often. The draw depends on the seed of the
    run, on the iteration and, unless ``synchronised``, on the rank, and on nothing else: a resumed run draws the sizes
    of the uninterrupted one, and other random numbers do not change. Boxes, masks and segmentation maps follow the
    images.

    MMDetection's ``BatchSyncRandomResize`` draws from a range every ten iterations on one rank, interpolates
    bilinearly, scales the boxes of the batch in place, and may round the image's shape down by a pixel.

    Source: Peterande/D-FINE, src/data/dataloader.py, ``BatchImageCollateFuncion``.

    Args:
        sizes: Heights in pixels; the width keeps the shape of the batch, rounded to ``size_divisor``.
        stop_epoch: Epoch, counted from 0, from which on batches keep their size. None never stops, or stops at the
            ``stop_epoch`` of ``SecondStageHook`` where the run has that hook.
        synchronised: Whether all ranks draw the same size. In the release each draws for itself.
        size_divisor: Divisor of the width of batches that are not square, in pixels.

    Raises:
        ConfigError: If an argument is out of range.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        stop_epoch: int | None = None,
        synchronised: bool = False,
        size_divisor: int = 32,
    ) -> None:
        super().__init__()
        if not isinstance(sizes, (list, tuple)) or not sizes or not all(is_integer(s) and s > 0 for s in sizes):
            raise ConfigError(
                f'{KEY}.sizes is {shown(sizes)}; give heights in pixels, for example [480, 640, 640, 800]'
            )
        if stop_epoch is not None:
            check_integer(f'{KEY}.stop_epoch', stop_epoch, 0, 'valid: None, 0, 72')
        self.sizes = list(sizes)
        self.stop_epoch = stop_epoch
        self.synchronised = check_flag(f'{KEY}.synchronised', synchronised)
        self.size_divisor = check_integer(f'{KEY}.size_divisor', size_divisor, 1, 'valid: 1, 32')

    def draw(self) -> int | None:
        """Return the height of this iteration's batch, or None where batches keep their size."""
        hub = MessageHub.get_current_instance()
        if self.stop_epoch is not None and hub.get_info('epoch', 0) >= self.stop_epoch:
            return None
        rank = 0 if self.synchronised else get_rank()
        generator = np.random.default_rng((int(hub.get_info('seed', 0) or 0), int(hub.get_info('iter', 0)), rank))
        return self.sizes[int(generator.integers(len(self.sizes)))]

    def forward(self, inputs: Tensor, data_samples: list[Any] | None) -> tuple[Tensor, list[Any] | None]:
        """Return resized images (B, C, H, W) and their samples, whose boxes, masks and shapes are replaced.

        Args:
            inputs: Preprocessed images of shape (B, C, H, W).
            data_samples: Their ``DetDataSample`` objects, with boxes as tensors of corners.
        """
        new_height = self.draw()
        height, width = inputs.shape[-2:]
        if new_height is None or new_height == height:
            return inputs, data_samples
        new_width = new_height
        if width != height:
            new_width = max(1, round(new_height * width / height / self.size_divisor)) * self.size_divisor
        size = (new_height, new_width)
        for sample in data_samples or []:
            _resize_sample(sample, size, (new_height / height, new_width / width))
        return F.interpolate(inputs, size=size, mode='nearest'), data_samples


def _resize_sample(sample: Any, size: tuple[int, int], scale: tuple[float, float]) -> None:
    """Replace shapes and annotations of an image; tensors of the loaded batch stay as they are.

    Args:
        sample: Sample of the image.
        size: New height and width of the batch in pixels.
        scale: Factors of height and width.
    """
    shapes = {
        name: tuple(round(side * factor) for side, factor in zip(sample.metainfo[name][:2], scale))
        for name in ('img_shape', 'pad_shape')
        if name in sample.metainfo
    }
    sample.set_metainfo({**shapes, 'batch_input_shape': size})
    for name in ('gt_instances', 'ignored_instances'):
        instances = sample.get(name)
        if instances is None:
            continue
        if 'bboxes' in instances:
            boxes = instances.bboxes
            instances.bboxes = boxes * boxes.new_tensor([scale[1], scale[0]] * 2)
        if 'masks' in instances:
            masks = instances.masks
            instances.masks = masks.resize((round(masks.height * scale[0]), round(masks.width * scale[1])))
    labels = sample.get('gt_sem_seg')
    if labels is not None:
        # Without padding (``pad_seg``) it has the size of its image.
        own = [round(side * factor) for side, factor in zip(labels.sem_seg.shape[-2:], scale)]
        resized = F.interpolate(labels.sem_seg[None].float(), size=own, mode='nearest')[0]
        sample.gt_sem_seg = type(labels)(sem_seg=resized.to(labels.sem_seg.dtype))
