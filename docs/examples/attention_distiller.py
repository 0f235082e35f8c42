"""A custom distiller that matches attention maps of features (attention transfer, arXiv 1612.03928)."""

from typing import Any

from torch import Tensor

from kd_plugins.distillers import BaseDistiller, Batch, Taps
from kd_plugins.errors import ConfigError
from kd_plugins.ops.reduction import mean_over_images, mean_per_image
from kd_plugins.registry import MODELS


def attention(feature: Tensor) -> Tensor:
    """Return the mean square over the channels of (N, C, H, W), scaled to length 1 per image: (N, H * W)."""
    energy = feature.square().mean(dim=1).flatten(1)
    return energy / energy.norm(dim=1, keepdim=True).clamp(min=1e-6)


@MODELS.register_module()
class AttentionDistiller(BaseDistiller):
    """Squared distance between the attention maps of student and teacher."""

    loss_names = ('loss_attention',)

    def __init__(self, taps: str = 'neck.fpn_convs.*', **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.taps = taps

    def student_taps(self) -> dict[str, str]:
        return {'features': self.taps}

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        for s, t in zip(student_outputs['features'], teacher_outputs['features']):
            if s.shape[2:] != t.shape[2:]:
                raise ConfigError(f'{self.key}.taps: the student gives {tuple(s.shape)}, the teacher {tuple(t.shape)}')

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        pairs = zip(student_outputs['features'], teacher_outputs['features'])
        levels = [mean_per_image((attention(s) - attention(t)).square()) for s, t in pairs]
        return {'loss_attention': mean_over_images(sum(levels) / len(levels))}
