"""Comparison of a pose estimator with its teacher and the ground truth for one person, as plain arrays.

:func:`~kd_plugins.visualization.draw_keypoints` draws them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ..errors import ConfigError, nearest
from ..losses import laplace_kl
from ..losses.logit import softmax_kl
from ..utils.head_types import is_a
from .pictures import Array
from .pose import Pose, read_pose


@dataclass(frozen=True)
class KeypointComparison:
    """Content of the picture of one person, in pixels of the network's input crop.

    Attributes:
        image: The crop, RGB, (H, W, 3), uint8.
        names: Names of the K joints.
        colors: Colours of the joints, RGB from 0 to 1, (K, 3).
        links: Pairs of joints that the skeleton connects, (L, 2).
        link_colors: Colours of the links, RGB from 0 to 1, (L, 3).
        poses: Poses of ``'teacher'``, if there is one, and of ``'student'``.
        truth: Annotated joints, (K, 2), NaN for joints without annotation; None without any annotation.
        divergence: KL divergence in nats of the student's distribution from the teacher's, (K,), summed over the axes;
            None without a teacher.
        joints: Indices of the chosen joints, whose distributions are drawn, in order.
    """

    image: Array
    names: list[str]
    colors: Array
    links: Array
    link_colors: Array
    poses: dict[str, Pose]
    truth: Array | None
    divergence: Array | None
    joints: list[int]

    def errors(self, role: str) -> Array:
        """Return the distance of each joint to the ground truth in pixels, (K,), NaN for joints without annotation."""
        points = self.poses[role].points
        return np.full(len(points), np.nan) if self.truth is None else np.linalg.norm(points - self.truth, axis=-1)


def keypoint_divergence(teacher: Pose, student: Pose) -> Array:
    """Return the KL divergence of each joint in nats, teacher to student, summed over the axes.

    Args:
        teacher: Pose of the teacher.
        student: Pose of the student.

    Returns:
        (K,).

    Raises:
        ConfigError: If the distributions are of different kinds or shapes.
    """
    shapes = [[density.shape[1:] for density in pose.densities] for pose in (student, teacher)]
    for name, of_student, of_teacher in (
        ('keypoints', len(student.points), len(teacher.points)),
        ('a Laplace distribution', student.spread is not None, teacher.spread is not None),
        ('densities of shape', *shapes),
    ):
        if of_student != of_teacher:
            raise ConfigError(
                f'teacher: the student predicts {name}: {of_student}, and the teacher: {of_teacher}; use a teacher '
                'with the same keypoints, kind of head and codec'
            )
    if student.spread is not None and teacher.spread is not None:
        location, scale, teacher_location, teacher_scale = (
            torch.from_numpy(np.asarray(value, float))
            for value in (student.points, student.spread, teacher.points, teacher.spread)
        )
        return laplace_kl(location, scale, teacher_location, teacher_scale).sum(dim=-1).numpy()
    total = np.zeros(len(student.points))
    for densities in zip(student.densities, teacher.densities):
        # The logarithms of a density are logits of it.
        q, p = (torch.from_numpy(np.log(np.maximum(values, np.finfo(float).tiny))).flatten(1) for values in densities)
        total += softmax_kl(q, p, temperature=1.0, dim=-1).numpy()
    return total


def true_points(sample: Any) -> Array | None:
    """Return the annotated joints of a data sample in pixels of its crop.

    The map is the inverse of MMPose's map from the crop to the image.

    Args:
        sample: A data sample of MMPose.

    Returns:
        (K, 2), NaN for joints without annotation, or None if the sample has no joints.
    """
    if 'keypoints' not in sample.gt_instances:
        return None
    center, scale, size = (np.asarray(sample.metainfo[f'input_{name}'], float) for name in ('center', 'scale', 'size'))
    points = (np.asarray(sample.gt_instances.keypoints, float)[0, :, :2] - center) / scale * size + size / 2
    visible = np.asarray(sample.gt_instances.keypoints_visible)[0].reshape(len(points), -1)[:, 0]
    return np.where(visible[:, None] > 0, points, np.nan)


def chosen_joints(joints: Sequence[int | str], names: Sequence[str]) -> list[int]:
    """Return the indices of joints given by index or name.

    Args:
        joints: Indices or names.
        names: Names of all joints.

    Raises:
        ConfigError: If a joint does not exist.

    >>> chosen_joints(['1', 'neck'], ['neck', 'left_hip'])
    [1, 0]
    """
    indices = []
    for joint in joints:
        index = names.index(str(joint)) if joint in names else int(joint) if str(joint).isdigit() else -1
        if not 0 <= index < len(names):
            raise ConfigError(
                f"joints: '{joint}' does not exist; {nearest(str(joint), names)}, or 0 to {len(names) - 1}"
            )
        indices.append(index)
    return indices


def compare_keypoints(
    student: nn.Module,
    sample: Mapping[str, Any],
    metainfo: Mapping[str, Any],
    teacher: nn.Module | None = None,
    joints: Sequence[int | str] | None = None,
    top: int = 3,
) -> KeypointComparison:
    """Return the predictions of student and teacher for one person, with the annotation.

    Args:
        student: A top-down pose estimator of MMPose in eval mode.
        sample: ``inputs`` and ``data_samples`` of one person, as the student's test pipeline packs them.
        metainfo: Metainfo of the data set, as MMPose parses it: names, colours and links of the joints.
        teacher: Another top-down pose estimator, which gets the same crop.
        joints: Indices or names of the chosen joints. None chooses those where teacher and student differ most;
            without a teacher, those with the largest error; without annotation, those with the lowest score.
        top: Number of joints that None chooses.

    Raises:
        ConfigError: If a network gives no distributions, the two are not comparable, the data set has other joints,
            or one of ``joints`` does not exist.
    """
    for role, model in (('student', student), ('teacher', teacher)):
        if model is not None and not is_a(model, 'TopdownPoseEstimator'):
            raise ConfigError(
                f"model.type: '{type(model).__name__}' of the {role} is not a top-down pose estimator; nearest: "
                "'TopdownPoseEstimator'"
            )
    poses = {} if teacher is None else {'teacher': read_pose(teacher, sample, 'teacher')}
    pose = poses['student'] = read_pose(student, sample)
    names = list(metainfo['keypoint_id2name'].values())
    if len(names) != len(pose.points):
        raise ConfigError(
            f'model.head: the student predicts {len(pose.points)} keypoints where the data set has {len(names)}; use '
            'the metainfo that it was trained with'
        )
    divergence = None if teacher is None else keypoint_divergence(poses['teacher'], pose)
    truth = true_points(sample['data_samples'])
    if joints is not None:
        chosen = chosen_joints(joints, names)
    else:
        interest = -pose.scores if truth is None else np.linalg.norm(pose.points - truth, axis=-1)
        order = np.argsort(-(interest if divergence is None else divergence), kind='stable')
        chosen = order[:top].tolist()
    return KeypointComparison(
        image=sample['inputs'].numpy()[::-1].transpose(1, 2, 0).copy(),  # the pipelines read BGR
        names=names,
        colors=np.asarray(metainfo['keypoint_colors'], float) / 255.0,
        links=np.asarray(metainfo['skeleton_links'], int).reshape(-1, 2),
        link_colors=np.asarray(metainfo['skeleton_link_colors'], float).reshape(-1, 3) / 255.0,
        poses=poses,
        truth=truth,
        divergence=divergence,
        joints=chosen,
    )
