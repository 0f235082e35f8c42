"""Input of a pose estimator for one person, and the figure of the keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from ..errors import ConfigError
from .keypoint_figure import draw_keypoints
from .keypoints import compare_keypoints
from .loading import build_trained, check_keys, read_sample
from .pictures import read_image


def read_person(
    config: Config, index: int = 0, image: str | None = None, bbox: Sequence[float] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return one person as the test pipeline packs it, and the data set's ``metainfo``.

    Args:
        config: The resolved config of a top-down pose estimator.
        index: Index of the person in the test data.
        image: Image file that replaces the test data.
        bbox: Box of the person in the image, x1, y1, x2, y2 in pixels; by default the whole image.

    Raises:
        ConfigError: If there is no such person, or the config names no joints.
    """
    check_keys(config, 'test_dataloader')
    dataset_config = config.test_dataloader.dataset
    if image is None:
        if dataset_config.get('bbox_file') is not None:
            dataset_config.bbox_file = None  # detected boxes have no annotated joints
        sample, dataset = read_sample(config, 'test_dataloader', index)
        return sample, dataset.metainfo
    from mmpose.apis.inference import dataset_meta_from_config

    init_default_scope(config.get('default_scope') or 'mmengine')
    metainfo = dataset_meta_from_config(config, 'test')
    if not metainfo:
        raise ConfigError('test_dataloader.dataset.metainfo: the joints have no names; give the metainfo of the data')
    height, width = read_image(image, '--image').shape[:2]
    box = np.array([bbox or [0.0, 0.0, width, height]], np.float32)
    person = dict(img_path=image, bbox=box, bbox_score=np.ones(1, np.float32), **metainfo)
    return Compose(dataset_config.pipeline)(person), metainfo


def person_figure(
    person: tuple[dict[str, Any], dict[str, Any]],
    student: tuple[Config, str],
    teacher: tuple[Config, str] | None = None,
    joints: Sequence[str] | None = None,
    top: int = 3,
    device: str = 'cpu',
) -> Any:
    """Return the figure of one person: ground truth, teacher and student, and distributions of joints.

    Args:
        person: Result of :func:`read_person`.
        student: Config and checkpoint of the student.
        teacher: Config and checkpoint of the teacher.
        joints: Indices or names of joints; by default those where teacher and student differ most.
        top: Number of joints that are chosen by default.
        device: Device to run on.

    Raises:
        ConfigError: If a config has no model, or a joint does not exist.
        CheckpointError: If a checkpoint does not belong to its model.
    """
    student_model = build_trained(*student, device)[0]
    teacher_model = None if teacher is None else build_trained(*teacher, device)[0]
    return draw_keypoints(compare_keypoints(student_model, *person, teacher_model, joints, top))
