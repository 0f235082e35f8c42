"""KITTI's average precision of 3-D boxes, in space and from above, without a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.fileio import load
from mmengine.logging import print_log

from ..errors import ConfigError
from ..registry import METRICS
from ..utils.checks import check_choice
from .kitti_ap import COUNTS, IGNORED, OTHER, POSITIONS, SAMPLINGS, Matches, States, average_precision
from .lidar_frames import Frame, camera_frame, lidar_frame


@dataclass(frozen=True)
class Level:
    """Limits for the objects that count at one level of difficulty.

    Attributes:
        min_height: Height in the image, in pixels. Objects of at most this height and lower detections are ignored.
        max_occluded: Largest degree of occlusion.
        max_truncated: Largest part outside the image.
    """

    min_height: float
    max_occluded: float
    max_truncated: float


LEVELS = {
    'easy': Level(40, 0, 0.15),
    'moderate': Level(25, 1, 0.3),
    'hard': Level(25, 2, 0.5),
    'all': Level(-inf, inf, inf),
}
NEIGHBOURS = {'car': ('van',), 'pedestrian': ('person_sitting',)}
"""Class to similar classes, whose objects are neither right nor wrong for it."""
MIN_OVERLAP = {'Car': 0.7, 'Pedestrian': 0.5, 'Cyclist': 0.5}


def matches(frame: Frame, view: str, name: str, level: Level) -> Matches:
    """Return the objects and detections of a frame with their states for one class.

    Args:
        frame: Overlaps and attributes.
        view: ``'3d'`` for overlaps in space, ``'bev'`` for overlaps from above.
        name: Class name; case does not matter.
        level: Level of difficulty.
    """
    target = name.lower()
    objects = np.array([_object_state(other.lower(), target) for other in frame.object_names], dtype=np.int64)
    hidden = (
        (frame.occluded > level.max_occluded)
        | (frame.truncated > level.max_truncated)
        | (frame.object_heights <= level.min_height)
    )
    objects[(objects == COUNTS) & hidden] = IGNORED
    detections = np.array([COUNTS if other.lower() == target else OTHER for other in frame.names], dtype=np.int64)
    # In KITTI, low detections of any class may be matched.
    detections[frame.heights < level.min_height] = IGNORED
    return Matches(frame.volume if view == '3d' else frame.bev, frame.scores, objects, detections)


def _object_state(name: str, target: str) -> int:
    if name == target:
        return COUNTS
    return IGNORED if name in NEIGHBOURS.get(target, ()) else OTHER


@METRICS.register_module()
class LidarAPMetric(BaseMetric):
    """Average precision over 40 recall positions, in [0, 1], of boxes in space (``3d``) and from above (``bev``).

    The values are KITTI's; multiplied by 100 they equal those of MMDetection3D's ``KittiMetric``. CUDA is not needed,
    since :func:`~kd_plugins.ops.rotated_iou.rectangle_intersections` computes the overlaps. An info file is not needed,
    since the objects come from the data samples.

    Args:
        levels: Levels among ``'easy'``, ``'moderate'``, ``'hard'`` (KITTI's) and ``'all'`` (every object). None is
            KITTI's three levels if a camera is known, else ``'all'``. A camera is known from ``ann_file``, or if the
            pipeline packs ``images`` (``Pack3DDetInputs.meta_keys``). With a camera, predictions outside its image are
            left out.
        min_overlap: Class name to the overlap that a detection must exceed; by default 0.7 for ``Car``, as in KITTI,
            and 0.5 for every other class.
        sampling: ``'kitti'``, or ``'exact'`` for data sets with fewer than about 100 objects per class
            (:func:`~kd_plugins.evaluation.average_precision`).
        ann_file: Infos of MMDetection3D's KITTI converter, entry i for item i of the data set, for pipelines that do
            not pack ``images``.
        camera: Name of the camera.
        limit_range: (x, y, z, x, y, z); with a camera, predictions with the centre of their bottom outside are left
            out. ``KittiMetric`` has [0, -40, -3, 70.4, 40, 0].
        collect_device: See MMEngine's ``BaseMetric``.
        prefix: See MMEngine's ``BaseMetric``.

    An evaluation returns ``3d_mAP`` and ``bev_mAP``, the means over classes at ``'moderate'`` or at the first level,
    and ``3d_<class>_<level>``, ``bev_<class>_<level>``, in which the level ``'all'`` is omitted. Classes without
    objects are left out.

    Raises:
        ConfigError: If an argument does not fit, or a frame lacks the camera that a level needs.
    """

    default_prefix = 'lidar'

    def __init__(
        self,
        levels: Sequence[str] | None = None,
        min_overlap: Mapping[str, float] | None = None,
        sampling: str = 'kitti',
        ann_file: str | None = None,
        camera: str = 'CAM2',
        limit_range: Sequence[float] | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        for level in levels or ():
            check_choice('val_evaluator.levels', level, list(LEVELS))
        check_choice('val_evaluator.sampling', sampling, SAMPLINGS)
        for name, value in (min_overlap or {}).items():
            if not 0 <= value < 1:
                raise ConfigError(f'val_evaluator.min_overlap.{name} is {value}; valid: at least 0 and less than 1')
        if limit_range is not None and len(limit_range) != 6:
            raise ConfigError(f'val_evaluator.limit_range has {len(limit_range)} values; valid: 6, or None')
        self.levels = None if levels is None else list(levels)
        self.min_overlap = {**MIN_OVERLAP, **(min_overlap or {})}
        self.sampling = sampling
        self.camera = camera
        self.limit_range = limit_range
        self.ann_file = ann_file
        self._infos: dict[str, Any] | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Store the overlaps of each frame."""
        self.results.extend(self._frame(sample) for sample in data_samples)

    def _frame(self, sample: dict[str, Any]) -> Frame:
        meta = self.dataset_meta or {}
        classes = list(meta.get('classes', ()))
        categories, info = meta.get('categories'), None
        if self.ann_file is not None:
            if self._infos is None:
                self._infos = load(self.ann_file)
            if sample['sample_idx'] >= len(self._infos['data_list']):
                raise ConfigError(
                    f"val_evaluator.ann_file: '{self.ann_file}' has {len(self._infos['data_list'])} entries and the "
                    f'data set an item {sample["sample_idx"]}; valid: the ann_file of val_dataloader.dataset'
                )
            info = self._infos['data_list'][sample['sample_idx']]
            categories = self._infos['metainfo']['categories']
        elif 'cam2img' in (sample.get('images') or {}).get(self.camera, ()):
            annotations = sample.get('eval_ann_info') or {}
            info = {'images': sample['images'], 'instances': annotations.get('instances', [])}
        if info is None:
            if set(self.levels or ()) - {'all'}:
                raise ConfigError(
                    f'val_evaluator.levels are {self.levels}, and no camera is known; give val_evaluator.ann_file, or '
                    "add 'images' to meta_keys of Pack3DDetInputs, or choose levels=['all']"
                )
            return lidar_frame(sample, classes)
        if categories is None:
            raise ConfigError("val_dataloader.dataset: its metainfo has no 'categories', which name the labels")
        return camera_frame(sample, info, classes, categories, self.camera, self.limit_range)

    def compute_metrics(self, results: list[Frame]) -> dict[str, float]:
        """Return every average precision, and the means over classes."""
        classes = list((self.dataset_meta or {}).get('classes', ()))
        known = all(frame.has_camera for frame in results)
        levels = self.levels or (['easy', 'moderate', 'hard'] if known else ['all'])
        main = 'moderate' if 'moderate' in levels else levels[0]
        self._warn_few(results, classes, main)
        metrics: dict[str, float] = {}
        for view in ('3d', 'bev'):
            precision = {
                (name, level): average_precision(
                    [matches(frame, view, name, LEVELS[level]) for frame in results],
                    self.min_overlap.get(name, 0.5),
                    self.sampling,
                )
                for name in classes
                for level in levels
            }
            precision = {key: value for key, value in precision.items() if not np.isnan(value)}
            counted = [value for (_, level), value in precision.items() if level == main]
            metrics[f'{view}_mAP'] = float(np.mean(counted)) if counted else float('nan')
            if not counted and view == '3d':
                self._warn_none(results, classes, main)
            for (name, level), value in precision.items():
                metrics[f'{view}_{name}' + ('' if level == 'all' else f'_{level}')] = value
        return metrics

    def _warn_none(self, frames: list[Frame], classes: list[str], level: str) -> None:
        names = Counter(name for frame in frames for name in frame.object_names)
        annotated = ', '.join(f'{count} {name}' for name, count in names.most_common(8)) or 'no objects'
        if any(name.lower() in {other.lower() for other in names} for name in classes):
            advice = "they are too small, hidden or cut for it; nearest: levels=['all']"
        else:
            advice = 'none of them is of a class; compare metainfo.classes with the labels'
        print_log(
            f"val_evaluator: no object of {tuple(classes)} counts at level '{level}', so the mean average precision is "
            f'NaN; the {len(frames)} frames hold {annotated}; {advice}',
            logger='current',
            level=30,
        )

    def _warn_few(self, frames: list[Frame], classes: list[str], level: str) -> None:
        if self.sampling != 'kitti':
            return
        for name in classes:
            states: list[States] = [matches(frame, '3d', name, LEVELS[level]).objects for frame in frames]
            count = sum(int((state == COUNTS).sum()) for state in states)
            if 0 < count <= POSITIONS:
                print_log(
                    f"val_evaluator: {name} has {count} objects at level '{level}', so KITTI's average precision "
                    f"cannot exceed {(count - 1) / POSITIONS:.3f}; sampling='exact' has no such limit",
                    logger='current',
                    level=30,
                )
