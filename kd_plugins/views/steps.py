"""Photometric transforms of other packages as functions of one picture."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ConfigError, KDPluginsError, nearest
from ..registry import TRANSFORMS
from ..utils.argument_types import shown
from ..utils.build import check_arguments, construct, find_class, first_line

KORNIA = 'kornia.'
"""Beginning of the types that are looked up in ``kornia.augmentation``."""
MOVING = ('GeometricAugmentationBase2D', 'GeometricAugmentationBase3D', 'MixAugmentationBaseV2', 'PatchSequential')
"""Classes of kornia whose subclasses move pixels or mix images."""
WHITE = 255


class Step(Protocol):
    """A change of one picture of shape (C, H, W) in [0, 1], with three channels in the order R, G, B."""

    key: str
    name: str

    def __call__(self, picture: Tensor) -> Tensor:
        """Return the changed picture."""


class ModuleStep:
    """A module of images (1, C, H, W) in [0, 1], such as an augmentation of kornia.

    Args:
        module: The module.
        key: Config key of the transform, for error sentences.

    Raises:
        ConfigError: If it is known to move pixels.
    """

    def __init__(self, module: nn.Module, key: str) -> None:
        self.module, self.key, self.name = module, key, type(module).__name__
        for part in module.modules():
            if any(cls.__name__ in MOVING for cls in type(part).__mro__):
                raise moved(key, type(part).__name__)

    def __call__(self, picture: Tensor) -> Tensor:
        """Return the changed picture.

        Raises:
            ConfigError: If the module gives no image of the same size.
        """
        self.module.to(picture.device)
        with torch.no_grad():
            changed = self.module(picture[None])
        if not isinstance(changed, Tensor) or changed.shape[1:] != picture.shape:
            found = tuple(changed.shape[1:]) if isinstance(changed, Tensor) else type(changed).__name__
            raise ConfigError(
                f'{self.key}: {self.name} returns {found} for an image of {tuple(picture.shape)}; a view keeps the size'
            )
        return changed[0].to(picture).clamp(0, 1)


class PipelineStep:
    """A transform of OpenMMLab's pipelines, which gets the picture as a uint8 array (H, W, C) in the order B, G, R.

    It gets boxes, keypoints and a map of classes as well, to notice a transform that moves them.

    Args:
        transform: A function of the dict of a pipeline.
        key: Config key of the transform, for error sentences.
    """

    def __init__(self, transform: Any, key: str) -> None:
        self.transform, self.key, self.name = transform, key, type(transform).__name__

    def __call__(self, picture: Tensor) -> Tensor:
        """Return the changed picture.

        Raises:
            ConfigError: If the transform fails, or changes the size or a label.
        """
        image = (picture * WHITE).round().clamp(0, WHITE).to(torch.uint8).permute(1, 2, 0)
        height, width, channels = image.shape
        image = image.flip(2) if channels == 3 else image
        labels = _labels(height, width)
        given = {name: value.copy() for name, value in labels.items()}
        array = np.ascontiguousarray(image.cpu().numpy())
        shape = (height, width)
        results = dict(img=array, img_shape=shape, ori_shape=shape, pad_shape=shape, seg_fields=['gt_seg_map'], **given)
        try:
            results = self.transform(results)
            changed = np.asarray(results['img'])
        except KDPluginsError:
            raise
        # A transform may raise anything.
        except Exception as error:
            raise ConfigError(
                f'{self.key}: {self.name} fails on a picture with {type(error).__name__}: {first_line(error)}; a view '
                "takes transforms of one image that need no others, such as 'mmdet.PhotoMetricDistortion'"
            ) from error
        if changed.shape != array.shape or any(not _equal(results.get(name), one) for name, one in labels.items()):
            raise moved(self.key, self.name)
        result = torch.from_numpy(np.ascontiguousarray(changed)).to(picture).permute(2, 0, 1) / WHITE
        return (result.flip(0) if channels == 3 else result).clamp(0, 1)


def moved(key: str, name: str) -> ConfigError:
    """Return the error about a transform that moves pixels or labels."""
    return ConfigError(
        f"{key}: {name} changes positions, and the teacher's predictions belong to the unmoved image; give transforms "
        "of colours alone, such as 'mmdet.PhotoMetricDistortion', and move images in the pipeline of the data"
    )


def build_step(config: Any, key: str) -> Step:
    """Return the step of a config.

    Args:
        config: ``dict(type=...)`` with the arguments of a transform: ``'kornia.NAME'`` is a class of
            ``kornia.augmentation``, other names are those of the registry of transforms. Or a transform that is built
            already.
        key: Config key, for error sentences.

    Raises:
        ConfigError: If there is no such transform, or its arguments do not fit.
    """
    if isinstance(config, nn.Module):
        return ModuleStep(config, key)
    if not isinstance(config, Mapping):
        if callable(config) and not isinstance(config, (str, type)):
            return PipelineStep(config, key)
        raise ConfigError(f"{key} is {shown(config)}; give a dict such as dict(type='mmdet.PhotoMetricDistortion')")
    name = config.get('type')
    if isinstance(name, str) and name.startswith(KORNIA):
        cls = _kornia_class(name, f'{key}.type')
    else:
        cls = find_class(TRANSFORMS, name, object, f'{key}.type')
    settings = {argument: value for argument, value in config.items() if argument != 'type'}
    check_arguments(cls, settings, key)
    part = construct(cls, settings, key)
    return ModuleStep(part, key) if isinstance(part, nn.Module) else PipelineStep(part, key)


def _kornia_class(name: str, key: str) -> type:
    try:
        package = import_module('kornia.augmentation')
    except ImportError as error:
        raise ConfigError(
            f'{key} is {shown(name)}, and kornia cannot be imported ({first_line(error)}); install the extra '
            "views (kornia), or use 'mmdet.PhotoMetricDistortion'"
        ) from error
    found = getattr(package, name.rpartition('.')[2], None)
    if isinstance(found, type):
        return found
    valid = [KORNIA + one for one, value in vars(package).items() if one.startswith(('Color', 'Random')) and value]
    raise ConfigError(f'{key} is {shown(name)}, which is no augmentation of kornia; {nearest(name, valid, 4)}')


def _labels(height: int, width: int) -> dict[str, Any]:
    """Return labels of one object by the keys of MMDetection, MMSegmentation and MMPose."""
    box = np.array([[0.1 * width, 0.2 * height, 0.6 * width, 0.9 * height]], dtype=np.float32)
    corners = box.reshape(1, 2, 2)
    rows, columns = np.ogrid[:height, :width]
    return dict(
        gt_bboxes=box,
        gt_bboxes_labels=np.zeros(1, dtype=np.int64),
        gt_ignore_flags=np.zeros(1, dtype=bool),
        gt_seg_map=((rows * 7 + columns * 3) % 251).astype(np.uint8),
        bbox=box,
        bbox_center=corners.mean(axis=1),
        bbox_scale=corners[:, 1] - corners[:, 0],
        bbox_rotation=np.zeros(1, dtype=np.float32),
        keypoints=corners,
        keypoints_visible=np.ones((1, 2), dtype=np.float32),
    )


def _equal(value: Any, expected: Any) -> bool:
    """Return whether a label is unchanged, also as a class of MMDetection."""
    if isinstance(value, Tensor) or hasattr(value, 'tensor'):
        value = getattr(value, 'tensor', value).numpy()
    return value is not None and np.array_equal(np.asarray(value), expected)
