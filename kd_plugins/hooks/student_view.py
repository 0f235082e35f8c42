"""View of a run: it changes the images that the student sees, never those of the teachers."""

from __future__ import annotations

from typing import Any

from mmengine.dist import get_rank
from torch import Tensor, nn

from ..datasets.position_stream import position_seed
from ..errors import ConfigError
from ..registry import MODELS
from ..utils.build import build
from ..utils.calls import ForwardCall
from ..views import BaseView

KEY = 'student_view'


def build_view(config: Any) -> BaseView | None:
    """Return the view of a hook.

    Args:
        config: Its config, a view, or ``None``.

    Raises:
        ConfigError: If it is no view.
    """
    return None if config is None else build(MODELS, config, BaseView, KEY)


class StudentView:
    """A view with the seeds of one rank of a run.

    Args:
        view: The view.
        preprocessor: The student's ``data_preprocessor``, or ``None``.
        seed: Seed of the run, the same on all ranks and after a resume.
    """

    def __init__(self, view: BaseView, preprocessor: nn.Module | None, seed: int) -> None:
        view.bind(preprocessor)
        self.view = view
        self.seed = seed

    def changes(self, images: str) -> bool:
        """Return whether the view changes ``'labelled'`` or ``'unlabelled'`` images."""
        return images in self.view.on

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
        samples = call.data_samples
        seed = position_seed(self.seed, 'view', iteration, get_rank(), images)
        viewed = self.view(inputs, list(samples) if isinstance(samples, (list, tuple)) else None, seed)
        if viewed.shape != inputs.shape:
            raise ConfigError(
                f'{KEY}: {type(self.view).__name__} returned the shape {tuple(viewed.shape)} for inputs of '
                f'{tuple(inputs.shape)}; a view keeps the shape'
            )
        return viewed
