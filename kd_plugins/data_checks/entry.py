"""Entry point of the data checks: each data set of a config goes to the checks of its kind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from ..config.data_checks import LOADERS
from .coco_file import CocoFile, file_notes, read_coco
from .detection import check_coco_metric, check_detection
from .evaluator import check_same_images, coco_metrics, overlap_note
from .images import check_images
from .metainfo import class_names
from .pose import check_metainfo, check_pose, check_pose_metric
from .sources import Source, sources_of


def check_data_files(config: Config, loaders: tuple[str, ...] = LOADERS) -> list[str]:
    """Check the files of a config's data sets before the first step.

    Errors are what would stop training or evaluation later, or make their numbers wrong. Data sets of types that are
    unknown here, or that read files in their own way, are skipped, and so are those of remote storage.

    Args:
        config: The resolved config; any mapping with data loaders and evaluators serves.
        loaders: Config keys of the data loaders that the run uses.

    Returns:
        Remarks on what is only suspicious.

    Raises:
        ConfigError: Naming file, field or id, what was found, and the nearest valid choice.
    """
    return list(dict.fromkeys(_Checks(config).run(loaders)))


class _Checks:
    """State of one call: each file is read once."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.files: dict[str, CocoFile] = {}
        self.images: dict[str, set[str]] = {}
        self.checked: set[Any] = set()

    def run(self, loaders: tuple[str, ...]) -> Iterator[str]:
        for source in sources_of(self.config, loaders):
            if source.is_local:
                yield from self.check(source)
        train = self.images.pop('train_dataloader', set())
        for loader, paths in self.images.items():
            note = overlap_note(train, paths, loader)
            if note:
                yield note

    def file(self, path: str) -> CocoFile:
        if path not in self.files:
            self.files[path] = read_coco(path)
        return self.files[path]

    def check(self, source: Source) -> Iterator[str]:
        if source.inherits('mmdet.', 'CocoDataset', 'load_data_list', 'parse_data_info'):
            yield from self.detection(source)
        methods = ('load_data_list', '_load_annotations', 'parse_data_info')
        if source.inherits('mmpose.', 'BaseCocoStyleDataset', *methods):
            yield from self.pose(source)

    def pose(self, source: Source) -> Iterator[str]:
        names, file = check_metainfo(source), self.file(source.ann_file)
        yield from file_notes(file)
        yield from check_pose(source, file, names)
        yield from self.coco_images(source, file)
        for key, evaluator in coco_metrics(self.config, source.loader):
            path = evaluator.get('ann_file') or source.ann_file
            if not source.trains and os.path.isfile(path):
                evaluated = self.file(path)
                check_pose_metric(evaluator, key, evaluated)
                check_same_images(key, evaluated, source, file)

    def detection(self, source: Source) -> Iterator[str]:
        file, classes = self.file(source.ann_file), class_names(source)
        yield from file_notes(file)
        yield from check_detection(source, file, classes)
        yield from self.coco_images(source, file)
        for key, evaluator in coco_metrics(self.config, source.loader):
            path = evaluator.get('ann_file')
            if path and not source.trains and os.path.isfile(path):
                evaluated = self.file(path)
                yield from check_coco_metric(evaluator, key, source, evaluated, classes)
                check_same_images(key, evaluated, source, file)

    def coco_images(self, source: Source, file: CocoFile) -> Iterator[str]:
        folder = source.folder('img', 'img_path')
        paths = [os.path.join(folder, image['file_name']) for image in file.images]
        self.images.setdefault(source.loader, set()).update(paths)
        if (folder, file.path) not in self.checked:
            self.checked.add((folder, file.path))
            sizes = [(int(image['width']), int(image['height'])) for image in file.images]
            yield from check_images(paths, sizes, source.key, file.path)
