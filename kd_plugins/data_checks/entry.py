"""Entry point of the data checks: each data set of a config goes to the checks of its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from mmengine.config import Config

from ..config.data_checks import LOADERS
from .coco_sources import coco_detection, coco_pose
from .context import Context
from .evaluator import overlap_note
from .lidar import infos, kitti
from .members import check_members
from .segmentation import segmentation
from .sources import Source, sources_of
from .volumes import volumes


class Kind(NamedTuple):
    """Data sets that inherit the reading of their files from one class, and the checks of these files."""

    package: str
    base: str
    methods: tuple[str, ...]
    check: Callable[[Context, Source], Iterator[str]]


KINDS = (
    Kind('mmdet.', 'CocoDataset', ('load_data_list', 'parse_data_info'), coco_detection),
    Kind('mmpose.', 'BaseCocoStyleDataset', ('load_data_list', '_load_annotations', 'parse_data_info'), coco_pose),
    Kind('mmseg.', 'BaseSegDataset', (), segmentation),
    Kind('kd_plugins.', 'ISBIMembraneDataset', (), segmentation),
    Kind('kd_plugins.', 'NiftiDataset', (), volumes),
    Kind('kd_plugins.', 'kitti_folder', (), kitti),
    Kind('mmdet3d.', 'Det3DDataset', ('load_data_list',), infos),
)


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
    return list(dict.fromkeys(_remarks(Context(config), loaders)))


def _remarks(context: Context, loaders: tuple[str, ...]) -> Iterator[str]:
    check_members(context.config, loaders)
    for source in sources_of(context.config, loaders):
        for kind in KINDS if source.is_local else ():
            if source.inherits(kind.package, kind.base, *kind.methods):
                yield from kind.check(context, source)
    train = context.images.pop('train_dataloader', set())
    for loader, paths in context.images.items():
        note = overlap_note(train, paths, loader)
        if note:
            yield note
