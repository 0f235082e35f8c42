"""Parts that all generated data sets share: repeated items, class names, class counts of heads."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from torch.utils.data import Dataset

from ..config.data_checks import dataset_classes
from ..config.loading import walk


class RepeatedItems(Dataset):
    """A few items, repeated up to ``length``: schedules by epoch and warm-ups need a data set of ordinary length.

    Args:
        items: The different items.
        length: Number of items of the data set.
        metainfo: Metadata of the data set, such as ``classes``.
    """

    def __init__(self, items: Sequence[Any], length: int, metainfo: dict[str, Any]) -> None:
        self.items = items
        self.length = length
        self.metainfo = metainfo

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        # Preprocessors and encoders write into their inputs, and the clone() of a data sample shares its tensors.
        return copy.deepcopy(self.items[index % len(self.items)])


def numbered_classes(count: int) -> tuple[str, ...]:
    """Return names for classes that have none.

    >>> numbered_classes(2)
    ('class_0', 'class_1')
    """
    return tuple(f'class_{index}' for index in range(count))


def class_names(config: Config, count: int) -> tuple[str, ...]:
    """Return the class names of the training data, or ``count`` numbered classes where it has none."""
    return dataset_classes(config) or numbered_classes(count)


def head_class_count(config: Config, part: str, default: int) -> int:
    """Return the largest ``num_classes`` among the parts of a model whose path contains ``part``.

    Args:
        config: The resolved config.
        part: Part of a config key, such as ``'head'``.
        default: Result where no such part has ``num_classes``.

    >>> head_class_count(Config(dict(model=dict(bbox_head=dict(num_classes=3)))), 'head', 80)
    3
    """
    counts = [
        int(node['num_classes']) for path, node in walk(config.model, 'model') if 'num_classes' in node and part in path
    ]
    return max(counts, default=default)
