"""KITTI's folders as a data set, without info files and without reduced copies of the point clouds.

Points outside the image, where KITTI has no annotations, are removed when a cloud is loaded.
"""

from __future__ import annotations

from typing import Any

from ..errors import MissingDependencyError, import_fault
from ..registry import DATASETS, TRANSFORMS


@TRANSFORMS.register_module()
class CameraView:
    """Remove the points outside the image of a camera, as in KITTI's reduced point clouds.

    The transform follows ``LoadPointsFromFile`` and precedes any augmentation.

    Args:
        camera: Name of the camera.
    """

    def __init__(self, camera: str = 'CAM2') -> None:
        self.camera = camera

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return ``results`` with the visible ``points``."""
        view = results['images'][self.camera]
        points = results['points']
        xyz = points.tensor[:, :3]
        matrix = xyz.new_tensor(view['lidar2img'])
        u, v, depth = (xyz @ matrix[:3, :3].T + matrix[:3, 3]).unbind(dim=1)
        visible = (depth > 0) & (u >= 0) & (u < view['width'] * depth) & (v >= 0) & (v < view['height'] * depth)
        results['points'] = points[visible]
        return results


@DATASETS.register_module(name='KittiFolder')
def kitti_folder(**arguments: Any) -> Any:
    """Build MMDetection3D's ``KittiDataset`` on KITTI's own folders (``type='kd_plugins.KittiFolder'``).

    Args:
        arguments: Arguments of ``KittiDataset``. ``data_root`` holds the folders ``velodyne``, ``calib``, ``label_2``
            and, for the sizes of the images, ``image_2``. ``ann_file`` is a text file of frame names, as in KITTI's
            ``ImageSets``; without it, every frame is used.

    Raises:
        MissingDependencyError: If MMDetection3D is not installed.
        ConfigError: If a file is missing or damaged.
    """
    try:
        from .kitti_dataset import KittiFolder
    except ImportError as error:
        fault = import_fault(error, 'MMDetection3D')
        raise MissingDependencyError(
            f"KittiFolder: {fault} (extra 'det3d'); kd_plugins doctor prints the command"
        ) from error
    return KittiFolder(**arguments)
