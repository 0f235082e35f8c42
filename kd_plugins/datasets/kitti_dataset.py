"""Subclass of MMDetection3D's ``KittiDataset`` that :func:`kd_plugins.datasets.kitti.kitti_folder` builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmdet3d.datasets import KittiDataset

from .kitti_infos import categories_for, frame_names, kitti_infos


class KittiFolder(KittiDataset):
    """MMDetection3D's ``KittiDataset`` with entries read from KITTI's folders.

    Args:
        data_root: Holds the folders ``velodyne``, ``calib``, ``label_2`` and ``image_2``.
        ann_file: Text file of frame names; empty uses every frame.
        arguments: Other arguments of ``KittiDataset``. ``metainfo.classes`` may name classes that KITTI does not have.
    """

    def __init__(self, data_root: str, ann_file: str = '', **arguments: Any) -> None:
        arguments.setdefault('data_prefix', dict(pts='velodyne', img='image_2'))
        # MMDetection3D accepts the names of this list alone as classes.
        classes = (arguments.get('metainfo') or {}).get('classes')
        self.METAINFO = dict(KittiDataset.METAINFO, classes=categories_for(classes))
        super().__init__(data_root=data_root, ann_file=ann_file, **arguments)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return the entries that the converter would have written."""
        root = Path(self.data_root)
        labels = (root / 'label_2').is_dir() or not self.test_mode
        names = frame_names(root, self.ann_file)
        infos = kitti_infos(root, names, with_labels=labels, categories=self.METAINFO['classes'])
        self._metainfo.setdefault('categories', infos['metainfo']['categories'])
        return [self.parse_data_info(entry) for entry in infos['data_list']]
