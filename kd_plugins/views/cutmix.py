"""The CutMix view: a rectangle of another image of the batch, for networks that answer pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from ..ops.rectangles import paste_previous, picture_sizes
from ..registry import MODELS
from ..utils.argument_types import shown
from ..utils.build import build
from .base import BaseView
from .draws import random_rectangles
from .settings import check_erasing


@MODELS.register_module()
class CutMix(BaseView):
    """A rectangle of the previous image of the batch in each image, after another view has changed both.

    The hook mixes the teachers' outputs on the unchanged images with the same rectangles, so that the student's image,
    its target and the confidence of the target belong together at each place (UniMatch, arXiv 2208.09910). The last
    image is the previous one of the first. A single image stays as it is.

    A rectangle lies where both images have a picture, so that no padding is pasted and none is covered. Its share of
    the area is that of this common part. Rectangles are drawn as those of random erasing, with up to ten attempts until
    one fits.

    Args:
        view: Config of the view that changes the images before, such as a photometric one, without ``on``; None for
            none.
        prob: Probability that an image gets a rectangle.
        area: Least and largest share of the area.
        ratio: Least and largest height divided by width.
        on: ``'unlabelled'``, because the labels of labelled images are not mixed.
        key: Config key of the view, for error sentences.

    Raises:
        ConfigError: If a setting is out of range, ``on`` holds ``'labelled'``, or ``view`` has an ``on``.

    >>> view = CutMix(prob=1.0)
    >>> view.bind(None)
    >>> images = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 3, 32, 32)
    >>> mixed = view(images, None, seed=0)
    >>> mixed.unique().tolist(), torch.equal(view.mix(images, images, None, seed=0), mixed)
    ([0.0, 1.0], True)
    """

    mixes = True

    def __init__(
        self,
        view: dict[str, Any] | None = None,
        prob: float = 0.5,
        area: Sequence[float] = (0.02, 0.4),
        ratio: Sequence[float] = (0.3, 3.3),
        on: str | Sequence[str] = ('unlabelled',),
        key: str = 'student_view',
    ) -> None:
        super().__init__(on, key)
        if self.on != ('unlabelled',):
            raise ConfigError(
                f"{key}.on is {shown(on)}; CutMix mixes images and the teacher's outputs and no labels; "
                "valid: 'unlabelled'"
            )
        self.rectangle = check_erasing(key, dict(prob=prob, area=area, ratio=ratio))
        self.view: BaseView | None = None
        if view is not None:
            if isinstance(view, dict) and 'on' in view:
                raise ConfigError(f'{key}.view.on is {shown(view["on"])}; leave it out, as {key}.on says it')
            self.view = build(MODELS, view, BaseView, f'{key}.view', on=self.on)
            if self.view.mixes:
                raise ConfigError(
                    f'{key}.view.type is {shown(type(self.view).__name__)}, which mixes images as well; nearest: '
                    "'kd_plugins.PhotometricView'"
                )

    @property
    def channel_order(self) -> str:
        """Order of the channels as the other view says it, for pictures of the view."""
        return getattr(self.view, 'channel_order', 'auto')

    def bind(self, preprocessor: Any) -> None:
        """Bind the other view, see :meth:`BaseView.bind`."""
        if self.view is not None:
            self.view.bind(preprocessor)

    @torch.no_grad()
    def __call__(self, inputs: Tensor, samples: Sequence[Any] | None, seed: int) -> Tensor:
        """Return the view of a batch, see :meth:`BaseView.__call__`.

        Raises:
            ConfigError: If there are no images of shape (B, C, H, W), or they have labels of pixels, which would not
                be mixed.
        """
        if inputs.ndim != 4:
            raise ConfigError(
                f'{self.key}: the data_preprocessor gives {tuple(inputs.shape)}, and CutMix needs images of shape '
                '(N, C, H, W); remove student_view'
            )
        if any(getattr(sample, 'gt_sem_seg', None) is not None for sample in samples or ()):
            raise ConfigError(
                f'{self.key}: CutMix does not mix labels, and the unlabelled images have gt_sem_seg; leave '
                'LoadAnnotations out of unlabelled.dataloader.dataset.pipeline'
            )
        changed = inputs if self.view is None else self.view(inputs, samples, seed)
        return self.mix(changed, inputs, samples, seed)

    def mix(self, maps: Tensor, inputs: Tensor, samples: Sequence[Any] | None, seed: int) -> Tensor:
        """Return maps mixed as the images of the batch are, see :meth:`BaseView.mix`."""
        sizes = picture_sizes(inputs, samples)
        generator = torch.Generator().manual_seed(seed)
        # The other view starts its generator with the same seed.
        generator.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        corners, rectangles = random_rectangles(self.rectangle, sizes.minimum(sizes.roll(1, 0)), generator)
        return paste_previous(maps, corners, rectangles, (inputs.shape[2], inputs.shape[3]))
