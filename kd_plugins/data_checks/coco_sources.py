"""Checks of data sets that read COCO files: the file, its images and the evaluator's file."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Mapping
from inspect import signature
from typing import Any

from ..errors import ConfigError
from .coco_file import CocoFile, file_notes
from .context import Context
from .detection import check_coco_metric, check_detection
from .evaluator import check_loaded_truth, check_metric_names, check_same_images, coco_metrics, has_several
from .images import LOADING_STEPS, check_exist, check_images, reads_with_opencv
from .metainfo import class_names
from .pose import check_metainfo, check_pose, check_pose_metric
from .sources import Source, sources_of


def coco_detection(context: Context, source: Source) -> Iterator[str]:
    """Check a data set of MMDetection's ``CocoDataset``, and its ``CocoMetric``; yield remarks."""
    _check_prefix(source, "MMDetection's CocoDataset")
    file, classes = context.coco_file(source.ann_file), class_names(source)
    yield from file_notes(file)
    yield from check_detection(source, file, classes)
    yield from _images(context, source, file)
    for key, evaluator in coco_metrics(context.config, source):
        path = evaluator.get('ann_file')
        check_metric_names(evaluator, key, context.config)
        if not path:
            check_loaded_truth(key, source)
        elif not source.trains and os.path.isfile(path):
            evaluated = context.coco_file(path)
            yield from check_coco_metric(evaluator, key, source, evaluated, classes)
            yield from check_same_images(key, evaluated, source, file, _together(context, source, evaluated))


def coco_pose(context: Context, source: Source) -> Iterator[str]:
    """Check a data set of MMPose's ``BaseCocoStyleDataset``, and its ``CocoMetric``; yield remarks."""
    _check_prefix(source, 'MMPose')
    names, file = check_metainfo(source), context.coco_file(source.ann_file)
    yield from file_notes(file)
    yield from check_pose(source, file, names)
    yield from _images(context, source, file)
    for key, evaluator in coco_metrics(context.config, source):
        path = evaluator.get('ann_file') or source.ann_file
        if not source.trains and os.path.isfile(path):
            evaluated = context.coco_file(path)
            yield from check_pose_metric(evaluator, key, evaluated)
            yield from check_same_images(key, evaluated, source, file, _together(context, source, evaluated))


def _together(context: Context, source: Source, evaluated: CocoFile) -> Container[Any] | None:
    """Return the ids of the images that a metric gets, also from other members of a ``ConcatDataset``.

    Where a member is no COCO file, its images are unknown, so that those of the evaluator's file are returned.
    """
    if has_several(context.config, source):
        return None
    members = list(sources_of(context.config, (source.loader,)))
    try:
        return {image for member in members for image in context.coco_file(member.ann_file).image_of}
    except (ConfigError, OSError):
        return evaluated.image_of


def _check_prefix(source: Source, library: str) -> None:
    """Refuse a data set without ``data_prefix.img``, from which its class makes the path of each image."""
    default = getattr(signature(source.dataset_type).parameters.get('data_prefix'), 'default', {})
    prefix = source.node.get('data_prefix', default)
    if isinstance(prefix, Mapping) and 'img' not in prefix:
        raise ConfigError(
            f"{source.key}.data_prefix has no 'img', the folder of the images, which {library} reads; nearest: "
            f'data_prefix=dict(img={prefix.get("img_path", "")!r})'
        )


def _images(context: Context, source: Source, file: CocoFile) -> Iterator[str]:
    folder = source.folder('img')
    paths = [os.path.join(folder, image['file_name']) for image in file.images]
    context.images.setdefault(source.loader, set()).update(paths)
    if not context.is_new((folder, file.path)):
        return
    if reads_with_opencv(source):
        sizes = [(int(image['width']), int(image['height'])) for image in file.images]
        loader = source.step(*LOADING_STEPS) or {}
        yield from check_images(paths, sizes, source.key, file.path, str(loader.get('color_type', 'color')))
    else:
        check_exist(paths, source.key)
