"""Taps of the levels of a network, and the labels that supervise them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...utils.checks import is_integer
from ..base import Batch, Taps


def branch_taps(branch: str, paths: Sequence[str]) -> dict[str, str]:
    """Return the taps of a branch's levels: alias to path."""
    return {branch if len(paths) == 1 else f'{branch}.{index}': path for index, path in enumerate(paths)}


def paths_of(key: str, value: Any) -> list[str]:
    """Return the paths in a config value.

    Args:
        key: Config key for the error sentence.
        value: None, a path, or a list of paths.

    Raises:
        ConfigError: If it is something else, or names a path twice.
    """
    paths = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(paths, (list, tuple)) or not all(isinstance(path, str) and path for path in paths):
        raise ConfigError(f"{key} is {value!r}; give a path, a list of paths, or None, such as 'backbone.layer*'")
    repeated = next((path for index, path in enumerate(paths) if path in paths[:index]), None)
    if repeated is not None:
        raise ConfigError(f"{key} names '{repeated}' twice; name each level once")
    return list(paths)


def semantic_labels(key: str, batch: Batch, spatial: int) -> Tensor | None:
    """Return the segmentation labels of a batch, (N, *spatial), or None where it has none.

    They are ``data_samples[i].gt_sem_seg.data`` of shape (1, *spatial), or ``gt_sem_seg.sem_seg`` as in MMDetection.

    Args:
        key: Config key for the error sentence.
        batch: The batch.
        spatial: Number of spatial axes of the levels.

    Raises:
        ConfigError: If they cannot be stacked, or have another number of axes.
    """
    maps = []
    for sample in batch.samples:
        truth = getattr(sample, 'gt_sem_seg', None)
        if truth is not None:
            labels = truth.get('data') if 'data' in truth else truth.get('sem_seg')
            if labels is not None:
                maps.append(torch.as_tensor(labels))
    if not maps:
        return None
    shapes = sorted({tuple(labels.shape) for labels in maps})
    if len(maps) != batch.num_images or len(shapes) > 1:
        raise ConfigError(
            f'{key}: {len(maps)} of {batch.num_images} samples have gt_sem_seg, of shape '
            f'{", ".join(map(str, shapes))}; all must have it, of one size: let the data preprocessor pad labels with '
            'the images'
        )
    if len(shapes[0]) != spatial + 1 or shapes[0][0] != 1:
        raise ConfigError(
            f'{key}: gt_sem_seg has the shape {shapes[0]} and the levels have {spatial} spatial axes; it must be '
            f'{"(1, H, W)" if spatial == 2 else "(1, D, H, W)"}'
        )
    return torch.stack([labels[0] for labels in maps]).long()


def ignore_padding(key: str, labels: Tensor, inside: Tensor, ignore_index: int) -> Tensor:
    """Return labels with those of padding ignored, whatever they were.

    Args:
        key: Config key for the error sentence.
        labels: Integers, (N, H, W).
        inside: Booleans, (N, H, W) of the images with their padding, False on padding.
        ignore_index: Label that is ignored.

    Raises:
        ConfigError: If the labels are not padded, so that they would be stretched over the padding.

    >>> ignore_padding('distillers.x', torch.tensor([[[1, 0]]]), torch.tensor([[[True, False]]]), 255).tolist()
    [[[1, 255]]]
    """
    if labels.shape[1:] != inside.shape[1:]:
        sizes = ['x'.join(map(str, x.shape[1:])) for x in (labels, inside)]
        raise ConfigError(
            f'{key}: gt_sem_seg is {sizes[0]}, and the images with their padding are {sizes[1]}; set pad_seg=True in '
            'model.data_preprocessor, so that labels are padded with the images'
        )
    return torch.where(inside, labels, ignore_index)


def check_labels(key: str, labels: Tensor, num_classes: int, ignore_index: int) -> None:
    """Refuse labels that are neither a class nor ignored.

    Args:
        key: Config key for the error sentence.
        labels: Integers of any shape.
        num_classes: Number of classes.
        ignore_index: Label that is ignored.

    Raises:
        ConfigError: Naming one such label.

    >>> check_labels('distillers.x', torch.tensor([0, 1, 255]), num_classes=2, ignore_index=255)
    """
    counted = labels[labels != ignore_index]
    low, high = (int(counted.min()), int(counted.max())) if counted.numel() else (0, 0)
    if low < 0 or high >= num_classes:
        raise ConfigError(
            f'{key}: the labels hold {low if low < 0 else high}, which is none of the {num_classes} classes and not '
            f'ignore_index ({ignore_index}); set num_classes, or ignore_index'
        )


def label_count(model: nn.Module) -> tuple[str, int] | None:
    """Return the config key of a segmentor's number of classes, and how many labels its data has.

    A head with one output, whose sigmoid tells two classes apart, has the labels 0 and 1.

    >>> head, model = nn.Module(), nn.Module()
    >>> head.num_classes, model.decode_head = 1, head
    >>> label_count(model)
    ('model.decode_head.num_classes', 2)
    """
    count = head_attribute(model, 'num_classes')
    if count is None:
        return None
    is_network = not hasattr(model, 'decode_head') and hasattr(model, 'network')
    return 'model.network.out_channels' if is_network else 'model.decode_head.num_classes', max(count, 2)


def head_attribute(model: nn.Module, name: str) -> int | None:
    """Return an integer attribute, such as ``num_classes``, of the model's segmentation head or of the model itself.

    Args:
        model: A segmentor.
        name: Name of the attribute.

    Returns:
        The value, None where neither has such an attribute.
    """
    head = getattr(model, 'decode_head', None)
    heads = list(head) if isinstance(head, nn.ModuleList) else [head]
    for owner in (heads[-1], model):
        value = getattr(owner, name, None)
        if is_integer(value):
            return value
    return None


def read_levels(student_outputs: Taps, branch: str, order: Sequence[int]) -> list[Tensor]:
    """Return a branch's levels, the deepest last.

    Args:
        student_outputs: Outputs of the student's taps.
        branch: ``'encoder'`` or ``'decoder'``.
        order: From :func:`~kd_plugins.distillers.depth.depth_order`; empty before it is known.
    """
    of_branch = (tensors for alias, tensors in student_outputs.items() if alias.partition('.')[0] == branch)
    levels = [tensor for tensors in of_branch for tensor in tensors]
    return [levels[index] for index in order] if order else levels
