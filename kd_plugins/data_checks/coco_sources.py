"""Checks of data sets that read COCO files: the file, its images and the evaluator's file."""

from __future__ import annotations

import os
from collections.abc import Iterator

from .coco_file import CocoFile, file_notes
from .context import Context
from .detection import check_coco_metric, check_detection
from .evaluator import check_loaded_truth, check_metric_names, check_same_images, coco_metrics
from .images import check_images
from .metainfo import class_names
from .pose import check_metainfo, check_pose, check_pose_metric
from .sources import Source


def coco_detection(context: Context, source: Source) -> Iterator[str]:
    """Check a data set of MMDetection's ``CocoDataset``, and its ``CocoMetric``; yield remarks."""
    file, classes = context.coco_file(source.ann_file), class_names(source)
    yield from file_notes(file)
    yield from check_detection(source, file, classes)
    yield from _images(context, source, file)
    for key, evaluator in coco_metrics(context.config, source.loader):
        path = evaluator.get('ann_file')
        check_metric_names(evaluator, key, context.config)
        if not path:
            check_loaded_truth(key, source)
        elif not source.trains and os.path.isfile(path):
            evaluated = context.coco_file(path)
            yield from check_coco_metric(evaluator, key, source, evaluated, classes)
            yield from check_same_images(key, evaluated, source, file)


def coco_pose(context: Context, source: Source) -> Iterator[str]:
    """Check a data set of MMPose's ``BaseCocoStyleDataset``, and its ``CocoMetric``; yield remarks."""
    names, file = check_metainfo(source), context.coco_file(source.ann_file)
    yield from file_notes(file)
    yield from check_pose(source, file, names)
    yield from _images(context, source, file)
    for key, evaluator in coco_metrics(context.config, source.loader):
        path = evaluator.get('ann_file') or source.ann_file
        if not source.trains and os.path.isfile(path):
            evaluated = context.coco_file(path)
            yield from check_pose_metric(evaluator, key, evaluated)
            yield from check_same_images(key, evaluated, source, file)


def _images(context: Context, source: Source, file: CocoFile) -> Iterator[str]:
    folder = source.folder('img', 'img_path')
    paths = [os.path.join(folder, image['file_name']) for image in file.images]
    context.images.setdefault(source.loader, set()).update(paths)
    if context.is_new((folder, file.path)):
        sizes = [(int(image['width']), int(image['height'])) for image in file.images]
        loader = source.step('LoadImageFromFile', 'LoadImage') or {}
        yield from check_images(paths, sizes, source.key, file.path, str(loader.get('color_type', 'color')))
