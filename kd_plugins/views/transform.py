"""View of photometric transforms of other packages: kornia's modules and the transforms of OpenMMLab's pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from ..ops.rectangles import picture_sizes
from ..registry import MODELS
from ..utils.argument_types import shown
from ..utils.rng import seeded_rng
from .normalised import NormalisedView
from .probe import check_step
from .steps import build_step


@MODELS.register_module()
class TransformView(NormalisedView):
    """Photometric transforms of kornia, MMDetection, MMCV, MMSegmentation or MMPose, applied in order to each image.

    Each image is changed without its padding. Modules, such as those of kornia, get it as float32 in [0, 1] with the
    channels R, G, B, on the device of the batch; other transforms get a uint8 array in the order B, G, R on the CPU, as
    in a pipeline. Results are cut to the range of images. Transforms that move pixels or boxes are refused, the known
    ones by their type and all others by a probe.

    All random numbers come from the seed of the batch, and the generators of the run are restored.

    Args:
        transforms: Configs of the transforms: ``dict(type='kornia.RandomPlanckianJitter', p=0.8)`` for a class of
            ``kornia.augmentation``, and ``dict(type='mmdet.PhotoMetricDistortion')`` for a transform of a pipeline.
        on: Passes of the student that see the view: ``'labelled'``, ``'unlabelled'`` or both.
        channel_order: Order of the channels of the network's input, ``'rgb'``, ``'bgr'`` or ``'auto'``, see
            :class:`PhotometricView`.
        key: Config key of the view, for error sentences.

    Raises:
        ConfigError: If a transform is unknown, moves pixels, or draws from a random generator of its own.

    >>> view = TransformView([torch.nn.Threshold(0.5, 0.0)])
    >>> view.bind(None)
    >>> view(torch.tensor([[100.0, 200.0]]).view(1, 1, 1, 2), None, seed=0).flatten().round().tolist()
    [0.0, 200.0]
    """

    def __init__(
        self,
        transforms: Sequence[Any],
        on: str | Sequence[str] = ('unlabelled',),
        channel_order: str = 'auto',
        key: str = 'student_view',
    ) -> None:
        super().__init__(on, channel_order, key)
        if not isinstance(transforms, Sequence) or isinstance(transforms, str) or not transforms:
            raise ConfigError(
                f"{key}.transforms is {shown(transforms)}; give a list such as [dict(type='mmdet.PhotoMetricDistortion'"
                ')]'
            )
        self.steps = [build_step(config, f'{key}.transforms[{index}]') for index, config in enumerate(transforms)]
        for step in self.steps:
            check_step(step)

    @torch.no_grad()
    def __call__(self, inputs: Tensor, samples: Sequence[Any] | None, seed: int) -> Tensor:
        """Return the view of a batch, see :meth:`BaseView.__call__`."""
        normalisation = self.normalisation_of(inputs, samples)
        with torch.autocast(inputs.device.type, enabled=False), seeded_rng(seed):
            images = normalisation.undo(inputs)
            sizes = picture_sizes(inputs, samples).tolist()
            for image, (height, width) in zip(images, sizes):
                picture = image[:, :height, :width]
                for step in self.steps:
                    picture = step(picture)
                image[:, :height, :width] = picture
            changed = normalisation.redo(images).to(inputs.dtype)
        result = inputs.clone()
        for target, source, (height, width) in zip(result, changed, sizes):
            target[:, :height, :width] = source[:, :height, :width]
        return result
