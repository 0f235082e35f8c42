"""The photometric view: colour jitter, grey, blur and random erasing of the preprocessed images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..ops import photometric as ops
from ..ops.rectangles import picture_sizes, rectangle_mask
from ..registry import MODELS
from .draws import Draws, draw
from .normalised import NormalisedView
from .settings import read_settings


@MODELS.register_module()
class PhotometricView(NormalisedView):
    """Colour jitter, grey, Gaussian blur and random erasing, drawn for each image.

    The four operations of the jitter come in a random order, as in torchvision's ``ColorJitter``, then grey, blur and
    erasing. Erased rectangles are filled with uniform noise. (The released code of Unbiased Teacher converts normal
    numbers to bytes that wrap around, which gives the same distribution.) Padding keeps its values. On images that have
    not three channels, saturation, hue and grey are left out.

    Each setting below replaces the one of the preset; None keeps it.

    Args:
        preset: ``'unbiased_teacher'``, ``'light'`` (colours only) or ``'unimatch'`` (colours and blur).
        on: Passes of the student that see the view: ``'labelled'``, ``'unlabelled'`` or both.
        brightness: Largest change of the brightness factor from 1.
        contrast: Largest change of the contrast factor from 1.
        saturation: Largest change of the saturation factor from 1.
        hue: Largest shift of the hue in turns of the colour circle, at most 0.5.
        jitter_prob: Probability that the four changes above are applied to an image.
        grey_prob: Probability that an image becomes grey.
        blur_sigma: Least and largest standard deviation of the blur in pixels.
        blur_prob: Probability that an image is blurred.
        erasings: Rectangles: ``dict(prob=..., area=(least, largest), ratio=(least, largest))`` for each, with the share
            of the image's area and the height divided by the width. An empty list erases nothing.
        min_easy: Probability that an image is not changed at all.
        channel_order: Order of the channels of the network's input, ``'rgb'`` or ``'bgr'``. ``'auto'`` is R, G, B where
            the preprocessor swaps channels and B, G, R where it does not.
        key: Config key of the view, for error sentences.

    Raises:
        ConfigError: If a setting is unknown or out of range.

    >>> view = PhotometricView(preset='light', min_easy=0.5)
    >>> view.bind(None)
    >>> images = torch.full((4, 3, 8, 8), 128.0)
    >>> changed = view(images, None, seed=0)
    >>> changed.shape, torch.equal(changed, view(images, None, seed=0))
    (torch.Size([4, 3, 8, 8]), True)
    """

    def __init__(
        self,
        preset: str = 'unbiased_teacher',
        on: str | Sequence[str] = ('unlabelled',),
        brightness: float | None = None,
        contrast: float | None = None,
        saturation: float | None = None,
        hue: float | None = None,
        jitter_prob: float | None = None,
        grey_prob: float | None = None,
        blur_sigma: Sequence[float] | None = None,
        blur_prob: float | None = None,
        erasings: Sequence[dict[str, Any]] | None = None,
        min_easy: float | None = None,
        channel_order: str = 'auto',
        key: str = 'student_view',
    ) -> None:
        super().__init__(on, channel_order, key)
        overrides = dict(
            brightness=brightness,
            contrast=contrast,
            saturation=saturation,
            hue=hue,
            jitter_prob=jitter_prob,
            grey_prob=grey_prob,
            blur_sigma=blur_sigma,
            blur_prob=blur_prob,
            erasings=erasings,
            min_easy=min_easy,
        )
        self.settings = read_settings(preset, overrides, key)

    @torch.no_grad()
    def __call__(self, inputs: Tensor, samples: Sequence[Any] | None, seed: int) -> Tensor:
        """Return the view of a batch, see :meth:`BaseView.__call__`."""
        normalisation = self.normalisation_of(inputs, samples)
        sizes = picture_sizes(inputs, samples)
        generator = torch.Generator().manual_seed(seed)
        draws = draw(self.settings, sizes, generator)
        noise_seed = int(torch.randint(2**62, (), generator=generator))
        # The parameters are on the CPU, so choosing images by them waits for no device.
        chosen = draws.jitter | draws.grey | draws.blur | (draws.sizes > 0).flatten(1).any(1)
        rows = (chosen & ~draws.easy).nonzero().flatten()
        draws = Draws(**{name: value[rows] for name, value in vars(draws).items()})
        places = rows.to(inputs.device)
        with torch.autocast(inputs.device.type, enabled=False):
            originals = inputs.index_select(0, places)
            sizes = sizes[rows].to(inputs.device)
            valid = rectangle_mask(torch.zeros_like(sizes), sizes, (inputs.shape[2], inputs.shape[3]))
            images = normalisation.undo(originals)
            self._change(images, draws, sizes, valid, noise_seed)
            changed = normalisation.redo(images).to(inputs.dtype)
            return inputs.index_copy(0, places, changed.where(valid, originals))

    def _change(self, images: Tensor, draws: Draws, sizes: Tensor, valid: Tensor, noise_seed: int) -> None:
        """Apply all operations to images in [0, 1], in place."""
        _jitter(images, draws, valid)
        if images.shape[1] == 3:
            _apply(images, draws.grey, lambda x, rows: ops.grey(x))
        radius = math.ceil(3 * self.settings.blur_sigma[1])

        def blur(x: Tensor, rows: Tensor) -> Tensor:
            return ops.gaussian_blur(x, draws.sigmas[rows], radius, sizes[rows.to(sizes.device)])

        _apply(images, draws.blur, blur)
        _erase(images, draws, noise_seed)


def _apply(images: Tensor, chosen: Tensor, operation: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Replace the chosen images in place.

    Args:
        images: Images, (B, C, H, W).
        chosen: Booleans on the CPU, shape (B,).
        operation: Function of the chosen images and their indices on the CPU.
    """
    rows = chosen.nonzero().flatten()
    if len(rows):
        places = rows.to(images.device)
        images.index_copy_(0, places, operation(images.index_select(0, places), rows))


def _jitter(images: Tensor, draws: Draws, valid: Tensor) -> None:
    """Apply the four changes of colour in place, to each image in its own order."""

    def contrast(x: Tensor, rows: Tensor) -> Tensor:
        return ops.contrast(x, draws.factors[rows, 1], valid[rows.to(valid.device)])

    operations: list[Callable[[Tensor, Tensor], Tensor]] = [
        lambda x, rows: ops.brightness(x, draws.factors[rows, 0]),
        contrast,
        lambda x, rows: ops.saturation(x, draws.factors[rows, 2]),
        lambda x, rows: ops.hue(x, draws.factors[rows, 3]),
    ]
    for place in range(len(operations)):
        for number, operation in enumerate(operations[: 4 if images.shape[1] == 3 else 2]):
            _apply(images, draws.jitter & (draws.order[:, place] == number), operation)


def _erase(images: Tensor, draws: Draws, seed: int) -> None:
    """Fill the rectangles to erase with noise in place."""
    shape = (images.shape[2], images.shape[3])

    def fill(x: Tensor, rows: Tensor) -> Tensor:
        corners, sizes = draws.corners[rows].to(x.device), draws.sizes[rows].to(x.device)
        masks = rectangle_mask(corners.flatten(0, 1), sizes.flatten(0, 1), shape)
        generator = torch.Generator(x.device).manual_seed(seed)
        noise = torch.rand(x.shape, generator=generator, device=x.device)
        return noise.where(masks.unflatten(0, (len(rows), -1)).any(1), x)

    _apply(images, (draws.sizes > 0).flatten(1).any(1), fill)
