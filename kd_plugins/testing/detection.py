"""MMDetection: noise images with random boxes and masks."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from torch.utils.data import Dataset

from ..config.data_checks import dataset_classes
from ..config.loading import walk
from ..registry import DATASETS


@DATASETS.register_module()
class GeneratedDetection(Dataset):
    """MMDetection's own demo inputs as a data set: the same few images, as often as ``length`` asks.

    Args:
        classes: Class names, as the real data would have them.
        images: Number of different images.
        length: Number of items; schedules by epoch and warm-ups need a data set of ordinary length.
        size: Height and width in pixels.
        with_mask: Whether instances have masks.
        with_semantic: Whether images have a semantic map, at an eighth of their size.
    """

    def __init__(
        self,
        classes: tuple[str, ...],
        images: int = 8,
        length: int = 2000,
        size: tuple[int, int] = (128, 160),
        with_mask: bool = False,
        with_semantic: bool = False,
    ) -> None:
        from mmdet.testing import demo_mm_inputs

        count = len(classes)
        self.length = length
        self.metainfo = {'classes': tuple(classes)}
        batch = demo_mm_inputs(
            batch_size=images,
            image_shapes=[(3, *size)] * images,
            num_classes=max(count, 2),  # it never draws class 0
            sem_seg_output_strides=8,
            with_mask=with_mask,
            with_semantic=with_semantic,
            use_box_type=True,
        )
        self.items = [{'inputs': image, 'data_samples': sample} for image, sample in zip(*batch.values())]
        for item in self.items:
            item['data_samples'].gt_instances.labels %= count

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        # The preprocessor changes samples in place.
        item = self.items[index % len(self.items)]
        return {'inputs': item['inputs'].clone(), 'data_samples': item['data_samples'].clone()}


def _class_count(config: Config) -> int:
    counts = [
        int(node['num_classes'])
        for path, node in walk(config.model, 'model')
        if 'num_classes' in node and 'head' in path
    ]
    return max(counts, default=80)


def _loads(config: Config, name: str) -> bool:
    pipelines = config.train_dataloader.get('dataset', {})
    # What a loading step reads where its config does not say.
    defaults = {'LoadAnnotations': False, 'LoadPanopticAnnotations': True}
    steps = ((node, defaults.get(str(node.get('type')))) for _, node in walk(pipelines))
    return any(node.get(name, default) for node, default in steps if default is not None)


def image_size(config: Config, size: tuple[int, int] = (128, 160)) -> tuple[int, int]:
    """Return an image size (height, width) that suits the model.

    Args:
        config: Its ``model.num_queries``, where there is one, is how many locations a two-stage DETR picks; a map of
            stride 8 must have as many.
        size: The smallest.

    >>> image_size(Config(dict(model=dict(num_queries=900))))
    (256, 320)
    """
    queries = config.model.get('num_queries') or 0
    while (size[0] // 8) * (size[1] // 8) < queries:
        size = (2 * size[0], 2 * size[1])
    return size


def generated_dataset(config: Config, batch_size: int) -> dict[str, Any]:
    """Return the config of a data set that suits a detector.

    Args:
        config: The detector's whole config.
        batch_size: Images per batch.
    """
    classes = dataset_classes(config) or tuple(f'class_{index}' for index in range(_class_count(config)))
    return dict(
        type='kd_plugins.GeneratedDetection',
        classes=classes,
        images=4 * batch_size,
        length=1000 * batch_size,
        size=image_size(config),
        with_mask=_loads(config, 'with_mask'),
        with_semantic=_loads(config, 'with_seg'),
    )
