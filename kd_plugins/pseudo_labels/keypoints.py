"""Conversion of a top-down pose estimator's predictions to the targets of a head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData
from torch import Tensor, nn

from ..errors import ConfigError

Array = Any


def input_keypoints(keypoints: Array, metainfo: Mapping[str, Any]) -> Array:
    """Return keypoints in pixels of the network's input, from those in pixels of the image file.

    It is the inverse of what MMPose does with its predictions.

    Args:
        keypoints: Shape (N, K, 2).
        metainfo: Metadata of the data sample: ``input_size``, ``input_center`` and ``input_scale``.

    >>> meta = dict(input_size=(48, 64), input_center=np.array([50.0, 40.0]), input_scale=np.array([96.0, 128.0]))
    >>> input_keypoints(np.array([[[50.0, 40.0], [2.0, -24.0]]]), meta).tolist()
    [[[24.0, 32.0], [0.0, 0.0]]]
    """
    size, center, scale = (np.asarray(metainfo[f'input_{name}'], np.float64) for name in ('size', 'center', 'scale'))
    return ((np.asarray(keypoints, np.float64) - center + 0.5 * scale) * size / scale).astype(np.float32)


def inside_input(keypoints: Array, metainfo: Mapping[str, Any]) -> Array:
    """Return which keypoints (N, K, 2) in pixels of the network's input lie inside it, shape (N, K)."""
    return np.all((keypoints >= 0) & (keypoints < np.asarray(metainfo['input_size'])), axis=-1)


def head_codec(student: nn.Module, key: str) -> Any:
    """Return the codec of a head, which makes its targets.

    Args:
        student: The pose estimator.
        key: Config key of the pseudo labels.

    Raises:
        ConfigError: If the head has none.
    """
    codec = getattr(getattr(student, 'head', None), 'decoder', None)
    if codec is None:
        raise ConfigError(
            f"{key}: model.head of '{type(student).__name__}' has no decoder, whose codec makes the targets; "
            'nearest: model.head.decoder=codec'
        )
    return codec


def encoded_targets(codec: Any, keypoints: Array, visible: Array, key: str) -> tuple[InstanceData, PixelData | None]:
    """Return what the loss of a head reads.

    Args:
        codec: MMPose's codec.
        keypoints: In pixels of the network's input, shape (N, K, 2).
        visible: 1 or 0 for each keypoint, shape (N, K).
        key: Config key of the pseudo labels.

    Returns:
        ``gt_instance_labels`` and ``gt_fields``, the latter ``None`` where the codec makes no map.

    Raises:
        ConfigError: If the codec needs more than keypoints.
    """
    from mmpose.datasets.transforms import PackPoseInputs

    if codec.auxiliary_encode_keys:
        needed = ', '.join(sorted(codec.auxiliary_encode_keys))
        raise ConfigError(
            f"{key}: the codec {type(codec).__name__} needs '{needed}' beside the keypoints, which pseudo labels do "
            'not have; nearest: pseudo=None with a HeatmapDistiller'
        )
    encoded = codec.encode(keypoints=keypoints, keypoints_visible=visible)
    labels = InstanceData()
    for name, packed in (codec.label_mapping_table or PackPoseInputs.label_mapping_table).items():
        if name in encoded:
            labels.set_field(torch.as_tensor(np.asarray(encoded[name])), packed)
    maps = {
        packed: torch.as_tensor(np.asarray(encoded[name]))
        for name, packed in (codec.field_mapping_table or PackPoseInputs.field_mapping_table).items()
        if name in encoded
    }
    return labels, PixelData(**maps) if maps else None


def labelled_pose(sample: Any, instances: Any, visible: Tensor, codec: Any, device: torch.device, key: str) -> Any:
    """Return a data sample with the predicted keypoints as ground truth.

    Args:
        sample: Data sample of one person's box, which stays as it is.
        instances: Its prediction with ``keypoints`` (N, K, 2) in pixels of the image file.
        visible: Which keypoints count, shape (N, K).
        codec: Codec of the student's head.
        device: Device of the targets.
        key: Config key of the pseudo labels.

    Raises:
        ConfigError: If the codec does not fit.
    """
    predicted = numpy_array(instances.keypoints)[..., :2]
    keypoints = input_keypoints(predicted, sample.metainfo)
    shown = (visible.cpu().numpy() & inside_input(keypoints, sample.metainfo)).astype(np.float32)
    made = type(sample)(metainfo=sample.metainfo)
    truth = sample.gt_instances.clone() if 'gt_instances' in sample else InstanceData()
    truth.keypoints, truth.keypoints_visible = predicted, shown
    labels, fields = encoded_targets(codec, keypoints, shown, key)
    made.gt_instances, made.gt_instance_labels = truth, labels.to(device)
    if fields is not None:
        made.gt_fields = fields.to(device)
    return made


def numpy_array(values: Any) -> Array:
    """Return a tensor or an array as an array."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
