"""ResNet-vd of RT-DETR with 18 or 34 layers."""

from __future__ import annotations

from typing import Any

from mmcv.cnn import build_conv_layer, build_norm_layer
from mmdet.models.backbones import ResNetV1d
from torch import nn

from ...registry import MODELS


@MODELS.register_module()
class ResNetVD(ResNetV1d):
    """MMDetection's ``ResNetV1d`` with a 1x1 convolution and a norm in the first shortcut of every stage.

    ``PResNet`` of the release, and PaddleDetection's ResNet-vd, have one also where the widths are equal, which is the
    first stage of 18 and 34 layers. With 50 layers and more this is ``ResNetV1d``.

    Source: lyuwenyu/RT-DETR, ``src/nn/backbone/presnet.py``.

    Args:
        kwargs: As in MMDetection's ``ResNetV1d``.
    """

    def make_res_layer(self, **kwargs: Any) -> nn.Module:
        """Return a stage; arguments as in MMDetection's ``ResLayer``."""
        stage: Any = super().make_res_layer(**kwargs)
        if stage[0].downsample is None:
            # The names of the other shortcuts, which start with a pooling layer.
            conv = build_conv_layer(kwargs['conv_cfg'], kwargs['inplanes'], kwargs['planes'], kernel_size=1, bias=False)
            norm = build_norm_layer(kwargs['norm_cfg'], kwargs['planes'])[1]
            stage[0].downsample = nn.Sequential(nn.Identity(), conv, norm)
        return stage


__all__ = ['ResNetVD']
