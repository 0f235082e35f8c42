"""Windows of a Swin transformer: which of their tokens lie on an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Batch
from .locations import input_size, positions_on_images
from .paired import module_above


@dataclass(frozen=True)
class Windows:
    """Windows of an attention layer, as the Swin transformers of OpenMMLab divide a map into them.

    Attributes:
        side: Side of a window in tokens.
        shift: Tokens by which the map is shifted before.
        stride: Stride of the map in pixels.
    """

    side: int
    shift: int
    stride: int

    @classmethod
    def around(cls, model: nn.Module, path: str, key: str) -> Windows | None:
        """Return the windows of the attention layer around a tap, None where it has none.

        Args:
            model: The network.
            path: Path of the tap.
            key: Config key of the path, for error sentences.

        Raises:
            ConfigError: If the path names no module.
        """
        attention: Any = module_above(model, path, key, 'student', lambda one: hasattr(one, 'shift_size'))
        swin: Any = module_above(model, path, key, 'student', lambda one: hasattr(one, 'patch_embed'))
        if not hasattr(swin, 'stages') or not hasattr(attention, 'w_msa'):
            return None
        stride = swin.patch_embed.projection.stride[0]
        for stage in swin.stages:
            if any(module is attention for module in stage.modules()):
                return cls(int(attention.window_size), int(attention.shift_size), int(stride))
            stride *= 1 if stage.downsample is None else stage.downsample.sampler.stride[0]
        return None

    def valid(self, tokens: Tensor, batch: Batch) -> Tensor | None:
        """Return which tokens lie on an image, and not on its padding or that of the map.

        Args:
            tokens: Output of the layer, (windows of all images, tokens of a window, C).
            batch: The batch.

        Returns:
            Booleans (windows of all images, tokens of a window); None where the inputs are no images.
        """
        size = input_size(batch)
        if size is None:
            return None
        rows, columns = (math.ceil(side / self.stride) for side in size)
        ones = torch.ones(batch.num_images, 1, rows, columns, device=tokens.device)
        on_images = positions_on_images([ones], batch)[0]
        inside = ones[:, 0] if on_images is None else on_images.view(-1, rows, columns).float()
        inside = F.pad(inside, (0, -columns % self.side, 0, -rows % self.side))
        if self.shift:
            inside = inside.roll((-self.shift, -self.shift), (1, 2))
        # (N, rows of windows, side, columns of windows, side)
        divided = inside.unflatten(2, (-1, self.side)).unflatten(1, (-1, self.side))
        return divided.transpose(2, 3).flatten(3).flatten(0, 2) > 0
