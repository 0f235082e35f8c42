"""RT-DETR and RT-DETRv2 twice with the same weights: transformers' model, and the detector of the shipped configs.

The numbers of transformers' side are those of the released files and are written here a second time, apart from the
configs.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from tools.analysis.dfine_twins import Parity, compare, shipped_model

VERSIONS = (1, 2)
BASIC: dict[str, Any] = dict(layer_type='basic', hidden_sizes=[64, 128, 256, 512])
BOTTLENECK: dict[str, Any] = dict(layer_type='bottleneck', hidden_sizes=[256, 512, 1024, 2048])
WIDE: dict[str, Any] = dict(encoder_hidden_dim=384, encoder_ffn_dim=2048, decoder_in_channels=[384] * 3)
NARROW: dict[str, Any] = dict(encoder_in_channels=[128, 256, 512], hidden_expansion=0.5)
SIZES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    'r18vd': (dict(BASIC, depths=[2, 2, 2, 2]), dict(NARROW, decoder_layers=3)),
    'r34vd': (dict(BASIC, depths=[3, 4, 6, 3]), dict(NARROW, decoder_layers=4)),
    'r50vd_m': (dict(BOTTLENECK, depths=[3, 4, 6, 3]), dict(hidden_expansion=0.5)),
    'r50vd': (dict(BOTTLENECK, depths=[3, 4, 6, 3]), {}),
    'r101vd': (dict(BOTTLENECK, depths=[3, 4, 23, 3]), WIDE),
}
EVALUATED = {'r50vd_m': 2}
"""Layer that predicts, where it is not the last; transformers' models have no such setting."""


def theirs(size: str, version: int = 1, num_classes: int = 80, **changes: Any) -> nn.Module:
    """Return transformers' ``RTDetrForObjectDetection`` or ``RTDetrV2ForObjectDetection``, in evaluation mode.

    Args:
        size: A key of :data:`SIZES`.
        version: 1 or 2.
        num_classes: Number of classes.
        changes: Further arguments of the config.
    """
    from transformers import (
        RTDetrConfig,
        RTDetrForObjectDetection,
        RTDetrResNetConfig,
        RTDetrV2Config,
        RTDetrV2ForObjectDetection,
    )

    backbone, numbers = SIZES[size]
    make_backbone: Any = RTDetrResNetConfig
    settings: dict[str, Any] = dict(freeze_backbone_batch_norms=False, **{**numbers, **changes})
    settings['backbone_config'] = make_backbone(out_indices=[2, 3, 4], **backbone)
    make: Any = {1: (RTDetrConfig, RTDetrForObjectDetection), 2: (RTDetrV2Config, RTDetrV2ForObjectDetection)}[version]
    config = make[0](**settings)
    config.num_labels = num_classes
    model: nn.Module = make[1](config).eval()
    return model


def ours(size: str, num_classes: int = 80, **changes: Any) -> Any:
    """Return the detector of a shipped config, which is the same for both versions, in evaluation mode.

    Args:
        size: A key of :data:`SIZES`.
        num_classes: Number of classes.
        changes: Values by their dotted keys below ``model``.
    """
    return shipped_model(f'rtdetr_{size}', num_classes, **changes)


def parity(
    size: str, version: int = 1, height: int = 320, width: int = 320, seed: int = 0, discrete: bool = False
) -> Parity:
    """Compare both sides of a size in float64.

    Args:
        size: A key of :data:`SIZES`.
        version: 1 or 2.
        height: Height of the images.
        width: Width of the images.
        seed: Seed of weights and images.
        discrete: Whether RT-DETRv2 samples the nearest cells.
    """
    theirs_changes: dict[str, Any] = dict(decoder_method='discrete') if discrete else {}
    ours_changes: dict[str, Any] = {'decoder.layer_cfg.cross_attn_cfg.method': 'discrete'} if discrete else {}
    twin, model = theirs(size, version, **theirs_changes), ours(size, **ours_changes)
    return compare(twin, model, height, width, seed, EVALUATED.get(size))


__all__ = ['EVALUATED', 'SIZES', 'VERSIONS', 'ours', 'parity', 'theirs']
