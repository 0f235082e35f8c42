"""Comparison of the evaluator's annotation file with the data set's, and of training with validation images."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterator
from typing import Any

from mmengine.config import Config

from ..config.loading import class_name, walk
from ..errors import ConfigError
from ..utils.checks import check_choice
from .coco_file import CocoFile
from .sources import Source

COCO_METRICS = ('CocoMetric', 'ClassGroupCocoMetric')
"""Metrics with MMDetection's or MMPose's rules of COCO files."""
OF_SEVERAL = ('MultiDatasetEvaluator', 'MultiDatasetsEvaluator')
"""Evaluators of MMPose and MMDetection that give each data set of a loader a metric of its own."""


def coco_metrics(config: Config, source: Source) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield key and config of each of :data:`COCO_METRICS` that evaluates a data set.

    Args:
        config: The config.
        source: The data set.
    """
    key = source.loader.replace('_dataloader', '_evaluator')
    evaluator = config.get(key)
    own = f'{key}.metrics.{_place(evaluator, source)}' if has_several(config, source) else None
    for path, node in walk(evaluator, key):
        if class_name(node) in COCO_METRICS and own in (None, path):
            yield path, node


def has_several(config: Config, source: Source) -> bool:
    """Return whether each data set of the loader has a metric of its own, see :data:`OF_SEVERAL`."""
    evaluator = config.get(source.loader.replace('_dataloader', '_evaluator'))
    return isinstance(evaluator, dict) and class_name(evaluator) in OF_SEVERAL


def _place(evaluator: Any, source: Source) -> int | None:
    """Return the number of a data set's metric: MMPose goes by the type of the data set, MMDetection by its place."""
    if 'datasets' in evaluator:
        kinds = [class_name(dataset) for dataset in evaluator['datasets']]
        return kinds.index(class_name(source.node)) if class_name(source.node) in kinds else None
    member = re.search(r'\.datasets\.(\d+)', source.key)
    return int(member.group(1)) if member else None


METRICS = ('bbox', 'segm', 'proposal', 'proposal_fast')
"""Metrics of MMDetection's ``CocoMetric``."""
BOXES_ALONE = (
    'ATSS',
    'AutoAssign',
    'CenterNet',
    'ConditionalDETR',
    'CornerNet',
    'DABDETR',
    'DDOD',
    'DDQDETR',
    'DETR',
    'DFINE',
    'DINO',
    'DeformableDETR',
    'FCOS',
    'FDRDABDETR',
    'FDRDINO',
    'FDRDeformableDETR',
    'FOVEA',
    'FSAF',
    'GFL',
    'PAA',
    'RTDETR',
    'RepPointsDetector',
    'RetinaNet',
    'TOOD',
    'VFNet',
    'YOLOF',
    'YOLOV3',
    'YOLOX',
)
"""Detectors without masks."""


def check_metric_names(evaluator: dict[str, Any], key: str, config: Config) -> None:
    """Refuse metrics that MMDetection's ``CocoMetric`` does not know, or that the model gives no predictions for.

    Args:
        evaluator: The evaluator's config.
        key: Its config key.
        config: The whole config.

    Raises:
        ConfigError: Naming the metric.
    """
    metric = evaluator.get('metric', 'bbox')
    names = [metric] if isinstance(metric, str) else list(metric)
    for name in names:
        check_choice(f'{key}.metric', name, METRICS)
    model = class_name(config.get('model') or {})
    if 'segm' in names and model in BOXES_ALONE:
        raise ConfigError(
            f"{key}.metric has 'segm', and model.type '{model}' predicts no masks; nearest: metric='bbox'"
        )


def check_loaded_truth(key: str, source: Source) -> None:
    """Refuse MMDetection's ``CocoMetric`` without a file where the pipeline does not hand over the annotations.

    Args:
        key: Config key of the evaluator.
        source: The data set that it evaluates.

    Raises:
        ConfigError: Naming the file to set.
    """
    packing = source.step('PackDetInputs')
    if packing is not None and not source.trains and 'instances' not in packing.get('meta_keys', ()):
        raise ConfigError(
            f'{key}.ann_file is not set, and {source.key}.pipeline does not hand over the annotations (meta_keys of '
            f"PackDetInputs lack 'instances'); nearest: {key}.ann_file='{source.ann_file}'"
        )


def check_same_images(
    key: str, evaluated: CocoFile, source: Source, loaded: CocoFile, together: Container[Any] | None = None
) -> list[str]:
    """Refuse an evaluator whose annotation file has other images than the data set.

    Args:
        key: Config key of the evaluator.
        evaluated: The evaluator's annotation file.
        source: The data set.
        loaded: The data set's annotation file.
        together: Ids of the images of all data sets that the metric evaluates; by default those of this one.

    Returns:
        A remark on a part of the data set, whose other objects count as missed.

    Raises:
        ConfigError: Naming both files and the first image.
    """
    indices = source.node.get('indices')
    count = len(evaluated.images)
    part = indices if isinstance(indices, int) else None if indices is None else len(indices)
    notes = (
        [
            f'{source.key}.indices takes {part} images, and {key}.ann_file has {count}, so that objects of the others '
            'count as missed; give the evaluator a file of these images'
        ]
        if part is not None and part < count
        else []
    )
    if os.path.realpath(evaluated.path) == os.path.realpath(loaded.path):
        return notes
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
    known = loaded.image_of if together is None else together
    extra = next((image for image in evaluated.images if image['id'] not in known), None)
    if extra is not None and part is None:
        raise ConfigError(
            f"{key}.ann_file: '{evaluated.path}' has {len(evaluated.images)} images and {source.key}.ann_file "
            f"'{loaded.path}' {len(loaded.images)}, so that objects of image {extra['id']!r} count as missed; {advice}"
        )
    return notes


def overlap_note(train: set[str], other: set[str], loader: str) -> str | None:
    """Return a remark on files that training and another loader share, None without any.

    >>> overlap_note({'a.jpg'}, {'b.jpg'}, 'val_dataloader') is None
    True
    """
    shared = train & other
    if not shared:
        return None
    return (
        f'{len(shared)} of {len(other)} files of {loader} are also files of train_dataloader (first: '
        f"'{min(shared)}'), so that its metrics are those of the training set"
    )
