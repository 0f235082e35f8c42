"""Conversion of a file of D-FINE or RT-DETR into a checkpoint of a detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..checkpoints import compare_weights
from ..errors import CheckpointError, ConfigError, nearest
from ..models.backbones.file_weights import FileWeightsBackbone
from .classes import Rows, class_count, known_classes, listed_classes, match_classes, simplified, take_rows
from .names import DFINE, RTDETR, translate
from .sizes import describe, measure, shipped, size_name
from .source import COUNTERS, KEY, TITLES, Source

TOLERANCE = 1e-6
DEIM = 'kd_plugins::dfine_native/deim_dfine_s_coco.py'
"""A config with the activation of DEIM."""


class Conversion(NamedTuple):
    """A converted checkpoint.

    Attributes:
        state: Weights under the names of the detector, in its order.
        classes: Class names of the detector, ``None`` if they are unknown.
        rows: Rows of the class scores in the file; ``None`` for a backbone.
        initialised: Names of tensors in which rows were initialised.
    """

    state: dict[str, Tensor]
    classes: Sequence[str] | None
    rows: Rows | None
    initialised: list[str]


def convert(
    source: Source,
    model: nn.Module,
    classes: Sequence[str] | None = None,
    source_classes: Sequence[str] | None = None,
    activation: str | None = None,
    seed: int = 0,
) -> Conversion:
    """Return the weights of a file for a detector; the detector's own weights are not read.

    Args:
        source: The file.
        model: A ``DFINE`` or ``RTDETR`` of the config; with a file of a backbone, any detector with an ``HGNetV2`` or
            a ResNet-vd. Its backbone gets the weights of such a file; nothing else changes.
        classes: Class names of the data that the detector is for; ``None`` for those that its number of classes tells.
        source_classes: Class names of the file; ``None`` for those that the file or its number of classes tells.
        activation: ``'relu'`` or ``'silu'``, the activation that the file was trained with; ``None`` for what the file
            tells, else ``'relu'``.
        seed: Seed of new rows.

    Raises:
        CheckpointError: If the file does not fit the detector.
        ConfigError: If the class names do not fit the numbers of classes.
    """
    if source.layout == 'backbone':
        return Conversion(convert_backbone(source, model), None, None, [])
    check_detector(model, source.family)
    expected = model.state_dict()
    subject = f"{KEY}: '{source.path}'"
    check_size(source.state, expected, subject)
    check_constants(source.constants, model, subject)
    check_activation(activation or source.activation, model, subject)
    check_sampling(source, model, subject)
    count, target = class_count(source.state), class_count(expected)
    names = model_classes(classes, target)
    rows = match_classes(row_names(source, source_classes, count), names, count, target)
    state = take_rows(source.state, rows, torch.Generator().manual_seed(seed))
    initialised = [] if not rows.new else [name for name in state if state[name] is not source.state[name]]
    return Conversion(fit(state, expected, subject), names, rows, initialised)


def convert_backbone(source: Source, model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a backbone's file under the names of a detector.

    Raises:
        CheckpointError: If the file does not fit the backbone.
        ConfigError: If the detector has no such backbone.
    """
    backbone = getattr(model, 'backbone', None)
    if source.family == RTDETR:
        return convert_resnet(source, backbone)
    if not isinstance(backbone, FileWeightsBackbone):
        raise ConfigError(
            f"model.backbone.type is '{type(backbone).__name__}', but '{source.path}' holds weights of the backbone "
            "HGNetV2; nearest: 'kd_plugins.HGNetV2'"
        )
    backbone.load_weights(source.path, KEY)
    return {f'backbone.{name}': value for name, value in backbone.state_dict().items()}


def convert_resnet(source: Source, backbone: nn.Module | None) -> dict[str, Tensor]:
    """Return the weights of a file of ResNet-vd under the names of a detector.

    Raises:
        CheckpointError: If the file does not fit the backbone.
        ConfigError: If the backbone is another one.
    """
    from mmdet.models.backbones import ResNetV1d

    if not isinstance(backbone, ResNetV1d):
        raise ConfigError(
            f"model.backbone.type is '{type(backbone).__name__}', but '{source.path}' holds weights of the backbone "
            "ResNet-vd; valid: 'kd_plugins.ResNetVD', and 'ResNetV1d' for 50 and more layers"
        )
    pairs = {name: translate(f'backbone.{name}', 0, 'release', 'own', RTDETR) or name for name in source.state}
    state = {new: source.state[name] for name, new in pairs.items()}
    expected = {f'backbone.{name}': value for name, value in backbone.state_dict().items()}
    return fit(state, expected, f"{KEY}: '{source.path}'")


def check_detector(model: nn.Module, family: str = DFINE) -> None:
    """Refuse a model that is not the detector of a file.

    Args:
        model: The detector.
        family: ``'dfine'`` or ``'rtdetr'``.

    Raises:
        ConfigError: If it is another one.
    """
    from ..models import dfine, rtdetr

    detector = {DFINE: dfine.DFINE, RTDETR: rtdetr.RTDETR}[family]
    if not isinstance(model, detector):
        raise ConfigError(
            f"model.type is '{type(model).__name__}', which the weights of {TITLES[family]} do not fit; valid: "
            f"'kd_plugins.{detector.__name__}'"
        )


def check_size(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], subject: str) -> None:
    """Refuse a file of another size.

    Raises:
        CheckpointError: If it is one.
    """
    held, wanted = measure(state), measure(expected)
    if held != wanted:
        name = size_name(held)
        advice = f"inherit '{shipped(name)}', or give --size {name}" if name else 'change the config'
        raise CheckpointError(f'{subject} is {describe(held)}, but the config is {describe(wanted)}; {advice}')


def check_constants(constants: Mapping[str, Sequence[float]], model: nn.Module, subject: str) -> None:
    """Refuse a file whose edge distributions have other bins than the config.

    Raises:
        CheckpointError: If ``up`` or ``reg_scale`` differs.
    """
    if not any(constants.values()):
        return
    branches: Any = model.get_submodule('bbox_head.fdr')
    for name, values in constants.items():
        wanted = float(getattr(branches, name))
        other = next((value for value in values if abs(value - wanted) > TOLERANCE), None)
        if other is not None:
            raise CheckpointError(
                f'{subject} has {name}={other:g}, but model.bbox_head.{name} is {wanted:g}; '
                f'set model.bbox_head.{name}={other:g}'
            )


def activations(model: nn.Module) -> set[str]:
    """Return the activations in decoder and head of a detector, in lower case.

    The sigmoids and softmaxes that they compute are functions and no modules.
    """
    named = {
        type(module).__name__.lower()
        for part in ('decoder', 'bbox_head')
        for module in model.get_submodule(part).modules()
        if type(module).__module__.startswith('torch.nn.modules.activation')
    }
    return named - {'multiheadattention'}


def check_activation(activation: str | None, model: nn.Module, subject: str) -> None:
    """Refuse a file that was trained with another activation; shapes and names do not tell.

    Args:
        activation: ``'relu'`` for D-FINE and RT-DETR, ``'silu'`` for DEIM and RT-DETRv4, ``None`` for ``'relu'``.
        model: The detector.
        subject: First words of the error.

    Raises:
        CheckpointError: If the detector has another one.
    """
    trained, built = activation or 'relu', activations(model)
    if built == {trained}:
        return
    kind = {'relu': 'ReLU', 'silu': 'SiLU'}.get(trained, trained)
    owner = 'DEIM and RT-DETRv4 have' if trained == 'silu' else 'D-FINE and RT-DETR have'
    example = f" as in '{DEIM}'" if trained == 'silu' else ''
    keys = 'model.decoder, model.decoder.layer_cfg.ffn_cfg and model.bbox_head'
    raise CheckpointError(
        f'{subject} was trained with {kind} in decoder and head, as {owner}, but the config has '
        f"{', '.join(sorted(built))}; set act_cfg=dict(type='{kind}') in {keys}{example}, or give "
        'the right --activation'
    )


def check_sampling(source: Source, model: nn.Module, subject: str) -> None:
    """Refuse a file that was trained with other sampling points in the decoder than those of the config.

    Args:
        source: The file.
        model: The detector.
        subject: First words of the error.

    Raises:
        CheckpointError: If their number on a level differs, or RT-DETRv2's discrete sampling.
    """
    attention: Any = model.get_submodule('decoder.layers.0.cross_attn')
    key = 'model.decoder.layer_cfg.cross_attn_cfg'
    if source.points not in (None, attention.num_points):
        raise CheckpointError(
            f'{subject} has {source.points} sampling points on the levels, but {key}.num_points is '
            f'{attention.num_points}; set it to {source.points}'
        )
    method = getattr(attention, 'method', 'default')
    if source.sampling not in (None, method):
        raise CheckpointError(
            f"{subject} was trained with {source.sampling} sampling, but {key}.method is '{method}'; "
            f"set {key}.method='{source.sampling}'"
        )


def model_classes(classes: Sequence[str] | None, target: int) -> Sequence[str] | None:
    """Return the class names of a detector with ``target`` classes, ``None`` if they are unknown.

    Raises:
        ConfigError: If the names of the data are not as many.
    """
    if classes is None:
        return listed_classes(target)
    if len(classes) != target:
        raise ConfigError(
            f'model.bbox_head.num_classes is {target}, but train_dataloader.dataset has {len(classes)} classes; '
            f'set model.bbox_head.num_classes={len(classes)}'
        )
    return classes


def row_names(source: Source, source_classes: Sequence[str] | None, count: int) -> list[set[str]] | None:
    """Return the names of each row of a file, ``None`` if they are unknown.

    Raises:
        ConfigError: If ``source_classes`` are not as many.
    """
    if source_classes is not None and len(source_classes) != count:
        raise ConfigError(f"--source-classes: {len(source_classes)} names, but '{source.path}' has {count} classes")
    known = known_classes(count)
    given = source_classes or (source.classes if source.classes and len(source.classes) == count else None)
    if given is None:
        return known
    names = [{simplified(name)} for name in given]
    if known is not None and source_classes is None and all(name <= other for name, other in zip(names, known)):
        return known  # the hub's names, with the other names of the same classes
    return names


def fit(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], subject: str) -> dict[str, Tensor]:
    """Return the weights for all names of a detector, in its order and dtypes.

    Raises:
        CheckpointError: If a tensor is missing, unexpected, or of another shape.
    """
    report = compare_weights(state, expected)
    missing = [name for name in report.missing if not name.endswith(COUNTERS)]
    if missing:
        more = f' and {len(missing) - 1} more' if len(missing) > 1 else ''
        raise CheckpointError(f"{subject} lacks '{missing[0]}'{more}; copy or download the file again")
    if report.unexpected:
        name = report.unexpected[0]
        raise CheckpointError(f"{subject} holds '{name}', which the config does not have; {nearest(name, expected)}")
    if report.mismatched:
        name, (held, wanted) = next(iter(report.mismatched.items()))
        raise CheckpointError(f"{subject} has shape {held} for '{name}' where the config has {wanted}")
    return {
        name: state[name].to(value.dtype).clone() if name in state else torch.zeros_like(value, device='cpu')
        for name, value in expected.items()
    }


__all__ = [
    'Conversion',
    'activations',
    'check_activation',
    'check_constants',
    'check_detector',
    'check_sampling',
    'check_size',
    'convert',
    'convert_backbone',
    'convert_resnet',
    'fit',
    'model_classes',
    'row_names',
]
