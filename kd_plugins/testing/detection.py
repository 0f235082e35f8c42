"""Generated data for MMDetection: noise images with random boxes and masks."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from ..config.loading import class_name, walk
from ..registry import DATASETS
from .items import RepeatedItems, class_names, head_class_count


@DATASETS.register_module()
class GeneratedDetection(RepeatedItems):
    """The demo inputs of MMDetection's own tests as a data set.

    Args:
        classes: Class names.
        num_items: Number of different images.
        length: Number of items of the data set.
        size: Height and width in pixels.
        with_mask: Whether instances have masks.
        with_semantic: Whether images have a semantic map, at an eighth of their size.
    """

    def __init__(
        self,
        classes: tuple[str, ...],
        num_items: int = 8,
        length: int = 2000,
        size: tuple[int, int] = (128, 160),
        with_mask: bool = False,
        with_semantic: bool = False,
    ) -> None:
        from mmdet.testing import demo_mm_inputs

        count = len(classes)
        batch = demo_mm_inputs(
            batch_size=num_items,
            image_shapes=[(3, *size)] * num_items,
            num_classes=max(count, 2),  # the function never draws class 0
            sem_seg_output_strides=8,
            with_mask=with_mask,
            with_semantic=with_semantic,
            use_box_type=True,
        )
        items = [{'inputs': image, 'data_samples': sample} for image, sample in zip(*batch.values())]
        for item in items:
            item['data_samples'].gt_instances.labels %= count
        super().__init__(items, length, {'classes': tuple(classes)})


def _loads(config: Config, name: str) -> bool:
    pipelines = config.train_dataloader.get('dataset', {})
    # Defaults of ``with_mask`` and ``with_seg`` of each loading step.
    defaults = {'LoadAnnotations': False, 'LoadPanopticAnnotations': True}
    steps = ((node, defaults.get(class_name(node))) for _, node in walk(pipelines))
    return any(node.get(name, default) for node, default in steps if default is not None)


def image_size(config: Config, size: tuple[int, int] = (128, 160)) -> tuple[int, int]:
    """Return an image size (height, width) that is large enough for the model.

    A two-stage DETR picks ``model.num_queries`` locations, so the feature map of stride 8 must have as many.

    Args:
        config: The detector's whole config.
        size: The smallest size.

    >>> image_size(Config(dict(model=dict(num_queries=900))))
    (256, 320)
    """
    queries = config.model.get('num_queries') or 0
    while (size[0] // 8) * (size[1] // 8) < queries:
        size = (2 * size[0], 2 * size[1])
    return size


def generated_dataset(config: Config) -> dict[str, Any]:
    """Return the config of a data set that suits a detector.

    Args:
        config: The detector's whole config.
    """
    return dict(
        type='kd_plugins.GeneratedDetection',
        classes=class_names(config, head_class_count(config, 'head', default=80)),
        size=image_size(config),
        with_mask=_loads(config, 'with_mask'),
        with_semantic=_loads(config, 'with_seg'),
    )
