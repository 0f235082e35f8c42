"""Views of a run: they change the images that the student sees, never those of the teachers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_rank
from torch import Tensor, nn

from ..distillers.base import IMAGES, BaseDistiller, Batch, Taps
from ..distillers.sources import own_alias
from ..errors import ConfigError
from ..registry import MODELS
from ..utils.argument_types import shown
from ..utils.build import build
from ..utils.calls import ForwardCall
from ..utils.rng import position_seed
from ..views import BaseView

KEY = 'student_view'


Views = dict[str, BaseView]
"""``'labelled'`` or ``'unlabelled'`` to the view of these images."""


def build_views(config: Any) -> Views:
    """Return the views of a hook.

    Args:
        config: Config of a view, which changes the images in its ``on``; ``dict(labelled=..., unlabelled=...)`` with
            the config of one view for each; or ``None``.

    Raises:
        ConfigError: If it is no view.
    """
    if config is None:
        return {}
    if not isinstance(config, Mapping) or 'type' in config or not config or not set(config) <= set(IMAGES):
        view = build(MODELS, config, BaseView, KEY)
        return dict.fromkeys(view.on, view)
    for images, entry in config.items():
        if isinstance(entry, Mapping) and 'on' in entry:
            raise ConfigError(f'{KEY}.{images}.on is {shown(entry["on"])}; leave it out, as {images} says it')
    return {
        images: build(MODELS, entry, BaseView, f'{KEY}.{images}', on=(images,))
        for images, entry in config.items()
        if entry is not None
    }


class StudentView:
    """The views of a run with the seeds of one rank.

    Args:
        views: ``'labelled'`` or ``'unlabelled'`` to the view of these images.
        preprocessor: The student's ``data_preprocessor``, or ``None``.
        seed: Seed of the run, the same on all ranks and after a resume.
    """

    def __init__(self, views: Views, preprocessor: nn.Module | None, seed: int) -> None:
        for view in dict.fromkeys(views.values()):
            view.bind(preprocessor)
        self.views = dict(views)
        self.seed = seed

    def changes(self, images: str) -> bool:
        """Return whether a view changes ``'labelled'`` or ``'unlabelled'`` images."""
        return images in self.views

    def inputs(self, call: ForwardCall, iteration: int, images: str) -> Any:
        """Return the inputs of the student for a call whose inputs the teachers see unchanged.

        Args:
            call: Arguments of the model, after its preprocessor.
            iteration: 0-based iteration.
            images: ``'labelled'`` or ``'unlabelled'``.

        Raises:
            ConfigError: If the inputs are no batch of images, or the view changes their shape.
        """
        if not self.changes(images):
            return call.inputs
        inputs = call.inputs
        if not isinstance(inputs, Tensor):
            raise ConfigError(
                f'{KEY} changes a batch of images, and the inputs of the {images} images are '
                f'{type(inputs).__name__}; use student_view=None'
            )
        viewed = self.views[images](inputs, _listed(call.data_samples), self._seed(iteration, images))
        if viewed.shape != inputs.shape:
            raise ConfigError(
                f'{KEY}: {type(self.views[images]).__name__} returned the shape {tuple(viewed.shape)} for inputs of '
                f'{tuple(inputs.shape)}; a view keeps the shape'
            )
        return viewed

    def _seed(self, iteration: int, images: str) -> int:
        return position_seed(self.seed, 'view', iteration, get_rank(), images)

    def targets(self, outputs: Taps, batch: Batch, distiller: BaseDistiller) -> Taps:
        """Return the outputs of a teacher on unlabelled images as targets for what the student saw.

        They stay as they are, unless the view exchanges parts of images. Then the maps are mixed alike.

        Args:
            outputs: Outputs of the teacher's taps.
            batch: The unlabelled batch that the student saw.
            distiller: The distiller that compares them.

        Raises:
            ConfigError: If an output is no map of the images.
        """
        view = self.views.get('unlabelled')
        if view is None or not view.mixes:
            return outputs
        samples, seed = _listed(batch.data_samples), self._seed(batch.iteration, 'unlabelled')
        for alias, tensors in outputs.items():
            wrong = next((tensor for tensor in tensors if not _is_map(tensor, batch.inputs)), None)
            if wrong is not None:
                path = distiller.teacher_taps()[own_alias(alias)]
                raise ConfigError(
                    f'{view.key}: {type(view).__name__} mixes maps (N, C, H, W) with several cells of the '
                    f"N = {len(batch.inputs)} unlabelled images, and the tap '{path}' of {distiller.key} gives "
                    f"{tuple(wrong.shape)}; use type='kd_plugins.PhotometricView', which mixes nothing"
                )
        return {
            alias: [view.mix(tensor, batch.inputs, samples, seed) for tensor in tensors]
            for alias, tensors in outputs.items()
        }


def _listed(samples: Any) -> list[Any] | None:
    return list(samples) if isinstance(samples, (list, tuple)) else None


def _is_map(tensor: Tensor, inputs: Tensor) -> bool:
    """Return whether a tensor is a map of the images that can be divided.

    It has a row for each image, several cells, and the aspect ratio of the images up to the rounding of the stride.
    """
    if tensor.ndim != 4 or len(tensor) != len(inputs) or tensor.shape[2] * tensor.shape[3] < 2:
        return False
    (height, width), (rows, columns) = inputs.shape[2:], tensor.shape[2:]
    return abs(height * columns - width * rows) < max(height, width)
