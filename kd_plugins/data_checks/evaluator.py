"""Comparison of the evaluator's annotation file with the data set's, and of training with validation images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from ..config.loading import walk
from ..errors import ConfigError
from .coco_file import CocoFile
from .sources import Source


def coco_metrics(config: Config, loader: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield key and config of each ``CocoMetric`` of a loader."""
    evaluator = loader.replace('_dataloader', '_evaluator')
    for key, node in walk(config.get(evaluator), evaluator):
        if str(node.get('type', '')).rsplit('.', 1)[-1] == 'CocoMetric':
            yield key, node


def check_same_images(key: str, evaluated: CocoFile, source: Source, loaded: CocoFile) -> None:
    """Refuse an evaluator whose annotation file has other images than the data set.

    Args:
        key: Config key of the evaluator.
        evaluated: The evaluator's annotation file.
        source: The data set.
        loaded: The data set's annotation file.

    Raises:
        ConfigError: Naming both files and the first image.
    """
    if os.path.realpath(evaluated.path) == os.path.realpath(loaded.path):
        return
    advice = f"nearest: {key}.ann_file='{loaded.path}'"
    foreign = next((image for image in loaded.images if image['id'] not in evaluated.image_of), None)
    if foreign is not None:
        raise ConfigError(
            f"{key}.ann_file: '{evaluated.path}' has no image {foreign['id']!r} ('{foreign['file_name']}'), which "
            f"{source.key}.ann_file '{loaded.path}' has; {advice}"
        )
    renamed = next(
        (image for image in loaded.images if evaluated.image_of[image['id']]['file_name'] != image['file_name']), None
    )
    if renamed is not None:
        other = evaluated.image_of[renamed['id']]['file_name']
        raise ConfigError(
            f"{key}.ann_file: image {renamed['id']!r} is '{other}' in '{evaluated.path}' and "
            f"'{renamed['file_name']}' in {source.key}.ann_file '{loaded.path}'; {advice}"
        )
    extra = next((image for image in evaluated.images if image['id'] not in loaded.image_of), None)
    if extra is not None and not source.node.get('indices'):
        raise ConfigError(
            f"{key}.ann_file: '{evaluated.path}' has {len(evaluated.images)} images and {source.key}.ann_file "
            f"'{loaded.path}' {len(loaded.images)}, so that objects of image {extra['id']!r} count as missed; {advice}"
        )


def overlap_note(train: set[str], other: set[str], loader: str) -> str | None:
    """Return a remark on images that training and another loader share, None without any.

    >>> overlap_note({'a.jpg'}, {'b.jpg'}, 'val_dataloader') is None
    True
    """
    shared = train & other
    if not shared:
        return None
    return (
        f'{len(shared)} of {len(other)} images of {loader} are also images of train_dataloader (first: '
        f"'{min(shared)}'), so that its metrics are those of the training set"
    )
