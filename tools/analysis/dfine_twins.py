"""D-FINE twice with the same weights: transformers' model, and the detector of the shipped configs.

The numbers of transformers' side are those of the released files and are written here a second time, apart from the
configs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from kd_plugins.conversion.names import to_own, unify_transformers
from kd_plugins.deployment.images import smooth_images
from kd_plugins.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
BACKBONES: dict[str, dict[str, Any]] = {
    'B0': dict(
        stem_channels=[3, 16, 16],
        stage_in_channels=[16, 64, 256, 512],
        stage_mid_channels=[16, 32, 64, 128],
        stage_out_channels=[64, 256, 512, 1024],
        stage_num_blocks=[1, 1, 2, 1],
        stage_numb_of_layers=[3] * 4,
        use_learnable_affine_block=True,
    ),
    'B2': dict(
        stem_channels=[3, 24, 32],
        stage_in_channels=[32, 96, 384, 768],
        stage_mid_channels=[32, 64, 128, 256],
        stage_out_channels=[96, 384, 768, 1536],
        stage_num_blocks=[1, 1, 3, 1],
        stage_numb_of_layers=[4] * 4,
        use_learnable_affine_block=True,
    ),
    'B4': dict(
        stem_channels=[3, 32, 48],
        stage_in_channels=[48, 128, 512, 1024],
        stage_mid_channels=[48, 96, 192, 384],
        stage_out_channels=[128, 512, 1024, 2048],
        stage_num_blocks=[1, 1, 3, 1],
        stage_numb_of_layers=[6] * 4,
    ),
    'B5': dict(
        stem_channels=[3, 32, 64],
        stage_in_channels=[64, 128, 512, 1024],
        stage_mid_channels=[64, 128, 256, 512],
        stage_out_channels=[128, 512, 1024, 2048],
        stage_num_blocks=[1, 2, 5, 2],
        stage_numb_of_layers=[6] * 4,
    ),
}
NANO: dict[str, Any] = dict(
    encoder_in_channels=[512, 1024],
    feat_strides=[16, 32],
    encoder_hidden_dim=128,
    encoder_ffn_dim=512,
    encode_proj_layers=[1],
    hidden_expansion=0.34,
    depth_mult=0.5,
    d_model=128,
    decoder_in_channels=[128, 128],
    decoder_ffn_dim=512,
    num_feature_levels=2,
    decoder_n_points=[6, 6],
    decoder_layers=3,
)
SIZES: dict[str, tuple[str, dict[str, Any]]] = {
    'n': ('B0', NANO),
    's': ('B0', dict(encoder_in_channels=[256, 512, 1024], hidden_expansion=0.5, depth_mult=0.34, decoder_layers=3)),
    'm': ('B2', dict(encoder_in_channels=[384, 768, 1536], depth_mult=0.67, decoder_layers=4)),
    'l': ('B4', dict(decoder_layers=6)),
    'x': (
        'B5',
        dict(
            encoder_hidden_dim=384,
            encoder_ffn_dim=2048,
            decoder_in_channels=[384] * 3,
            decoder_layers=6,
            reg_scale=8.0,
        ),
    ),
}


def theirs(size: str, num_classes: int = 80, **changes: Any) -> nn.Module:
    """Return transformers' ``DFineForObjectDetection`` of a size, in evaluation mode.

    Args:
        size: A key of :data:`SIZES`.
        num_classes: Number of classes.
        changes: Further arguments of ``DFineConfig``.
    """
    from transformers import DFineConfig, DFineForObjectDetection, HGNetV2Config

    arch, numbers = SIZES[size]
    numbers_of_backbone = BACKBONES[arch]
    settings: dict[str, Any] = dict(
        numbers_of_backbone,
        hidden_sizes=numbers_of_backbone['stage_out_channels'],
        out_indices=[3, 4] if size == 'n' else [2, 3, 4],
    )
    backbone = HGNetV2Config(**settings)
    options = {**dict(decoder_n_points=[3, 6, 3], freeze_backbone_batch_norms=False), **numbers, **changes}
    config = DFineConfig(backbone_config=backbone, **options)
    config.num_labels = num_classes
    return DFineForObjectDetection(config).eval()


@torch.no_grad()
def randomize(model: nn.Module, forward: Callable[[], Any], seed: int = 0) -> None:
    """Give a model random weights, and the batch norms the statistics of some images.

    Matrices are drawn from N(0, 1 / fan-in); vectors are moved by N(0, 0.1).

    Args:
        model: Of either side.
        forward: Runs the model on the images.
        seed: Seed of the weights.
    """
    generator = torch.Generator().manual_seed(seed)
    kept = ('reg_scale', 'decoder.up')
    for name, parameter in model.named_parameters():
        if name.endswith(kept):
            continue
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            parameter.copy_(noise * parameter[0].numel() ** -0.5)
        else:
            parameter.add_(0.1 * noise)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    forward()
    model.eval()


def model_config(name: str, **changes: Any) -> Any:
    """Return the model of ``configs/_base_/models/NAME.py``.

    Args:
        name: Name of the file.
        changes: Values by their dotted keys below ``model``.
    """
    config = Config.fromfile(ROOT / 'configs' / '_base_' / 'models' / f'{name}.py')
    config.merge_from_dict({f'model.{key}': value for key, value in changes.items()})
    return config.model


def ours(size: str, num_classes: int = 80, **changes: Any) -> Any:
    """Return the detector of a shipped config of a size, in evaluation mode.

    Args:
        size: A key of :data:`SIZES`.
        num_classes: Number of classes.
        changes: Values by their dotted keys below ``model``.
    """
    return shipped_model(f'dfine_{size}', num_classes, **changes)


def shipped_model(name: str, num_classes: int, **changes: Any) -> Any:
    """Return the detector of ``configs/_base_/models/NAME.py``, in evaluation mode.

    Args:
        name: Name of the file.
        num_classes: Number of classes.
        changes: Values by their dotted keys below ``model``.
    """
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(model_config(name, **{'bbox_head.num_classes': num_classes, **changes})).eval()


def raw_outputs(model: Any, images: Tensor) -> dict[str, Tensor]:
    """Return maps of the neck, scores of all tokens, logits and boxes of the detector for whole images.

    Args:
        model: From :func:`ours`.
        images: Values in 0..1, (N, 3, height, width).
    """
    seen: dict[str, Tensor] = {}
    scorer = model.bbox_head.cls_branches[model.decoder.num_layers]
    handles = [scorer.register_forward_hook(lambda module, args, output: seen.setdefault('scores', output))]
    handles.append(model.encoder.register_forward_hook(lambda module, args, maps: seen.setdefault('maps', maps)))
    try:
        logits, boxes = model(images, mode='tensor')
    finally:
        for handle in handles:
            handle.remove()
    maps = {f'map {level}': features for level, features in enumerate(seen['maps'])}
    return {**maps, 'scores': seen['scores'], 'logits': logits[-1], 'boxes': boxes[-1]}


def their_outputs(model: Any, images: Tensor, layer: int | None = None) -> dict[str, Tensor]:
    """Return the same of transformers' model.

    Args:
        model: From :func:`theirs`.
        images: As for :func:`raw_outputs`.
        layer: Decoder layer whose logits and boxes are returned; None for the last one.
    """
    seen: dict[str, Any] = {}
    inner = model.model
    hooks = {'scores': inner.enc_score_head}
    handles = [
        part.register_forward_hook(lambda module, args, output, name=name: seen.setdefault(name, output))
        for name, part in hooks.items()
    ]
    for level, projection in enumerate(inner.decoder_input_proj):
        handles.append(
            projection.register_forward_hook(
                lambda module, args, output, name=f'map {level}': seen.setdefault(name, output)
            )
        )
    try:
        output = model(pixel_values=images)
    finally:
        for handle in handles:
            handle.remove()
    if layer is None:
        return {**seen, 'logits': output.logits, 'boxes': output.pred_boxes}
    boxes = output.intermediate_reference_points
    return {**seen, 'logits': output.intermediate_logits[:, layer], 'boxes': boxes[:, layer]}


class Parity(NamedTuple):
    """Difference of both sides on the same images and weights."""

    differences: dict[str, float]
    """Largest absolute difference of each output."""
    gap: float
    """Least difference of two consecutive scores of the selected tokens and the next one."""


def parity(size: str, height: int = 320, width: int = 320, seed: int = 0) -> Parity:
    """Compare both sides of a size; see :func:`compare`."""
    return compare(theirs(size), ours(size), height, width, seed)


@torch.no_grad()
def compare(
    twin: nn.Module, model: Any, height: int = 320, width: int = 320, seed: int = 0, layer: int | None = None
) -> Parity:
    """Compare transformers' model and a detector in float64 with the same random weights.

    Args:
        twin: Transformers' model.
        model: The detector.
        height: Height of the images.
        width: Width of the images.
        seed: Seed of weights and images.
        layer: Decoder layer of transformers' model that is compared; None for the last one.

    Raises:
        RuntimeError: If the weights of one side do not fit the other.
    """
    images = smooth_images(height, width, seed)
    randomize(twin, lambda: twin(pixel_values=images), seed)
    state, unknown = to_own(unify_transformers(twin.state_dict()), 'transformers')
    assert not unknown, unknown
    model.load_state_dict(state)
    expected = their_outputs(twin.double(), images.double(), layer)
    actual = raw_outputs(model.double(), images.double())
    best = expected['scores'].amax(dim=-1).sort(dim=-1, descending=True).values[:, : model.num_queries + 1]
    differences = {name: (actual[name] - expected[name]).abs().max().item() for name in expected}
    return Parity(differences, (best[:, :-1] - best[:, 1:]).min().item())
