"""Base class of all distillers, and the batch that they see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.dist import get_rank
from torch import Tensor, nn

from ..errors import ConfigError
from ..schedules import build_schedule
from ..utils.checks import check_choice
from ..utils.rng import position_seed
from .sources import check_source

Taps = Mapping[str, Sequence[Tensor]]
"""Outputs of taps: alias of the tap to its tensors (see :mod:`kd_plugins.taps`)."""


IMAGES = ('labelled', 'unlabelled')
"""Images on which a distiller teaches, and which a view changes."""


@dataclass(frozen=True)
class Batch:
    """The batch that a distiller may read beside the outputs of its taps.

    Attributes:
        inputs: Preprocessed network input, usually of shape (N, C, H, W).
        data_samples: The list of OpenMMLab data samples, one per image, or ``None``.
        iteration: 0-based iteration of the run.
        epoch: 0-based epoch of the run.
        seed: Seed of the run, the same on all ranks and after a resume.
        iterations: Number of iterations of the run; 0 where it is unknown, and in commands that inspect a run.
    """

    inputs: Any
    data_samples: Sequence[Any] | None
    iteration: int = 0
    epoch: int = 0
    seed: int = 0
    iterations: int = 0

    @property
    def samples(self) -> Sequence[Any]:
        """The OpenMMLab data samples; empty where the model gets none, or labels of its own such as a tensor."""
        return self.data_samples if isinstance(self.data_samples, (list, tuple)) else ()

    @property
    def num_images(self) -> int:
        """Number of images in the batch of this rank."""
        return len(self.inputs) if self.data_samples is None else len(self.data_samples)

    @property
    def progress(self) -> float | None:
        """Share of the run that is done, from 0 to 1; None where the length of the run is unknown."""
        return self.iteration / self.iterations if self.iterations else None

    def draw_seed(self, *use: int | str) -> int:
        """Return a seed for random numbers of this rank in this iteration, the same in a resumed run.

        Args:
            use: What draws them, for example the key of a distiller and a level; every use has other numbers.

        >>> batch = Batch(None, None, iteration=3)
        >>> batch.draw_seed('distillers.x', 0) == batch.draw_seed('distillers.x', 0)
        True
        >>> batch.draw_seed('distillers.x', 0) == batch.draw_seed('distillers.x', 1)
        False
        """
        return position_seed(self.seed, 'distiller', self.iteration, get_rank(), *use)


class BaseDistiller(nn.Module):
    """One distillation method.

    The hook calls :meth:`check_models` and :meth:`initialize` once before training, and :meth:`forward` at every batch.
    Every distiller also takes the setting ``on`` in its config, see :attr:`on`.

    Args:
        weight: Number or weight schedule (:mod:`kd_plugins.schedules`), the factor on every loss of this distiller.
        source: The network whose outputs teach: the name of a teacher (``'teacher'`` where the hook has one
            ``teacher=``), or ``'student'`` for a deeper layer of the same network, whose outputs are then detached.
            ``'auto'`` is the only teacher, and the student where there is none. A distiller that :attr:`combines`
            teachers takes a list of names as well.
        key: Config key of the distiller, for error sentences. The hook passes ``'distillers.NAME'``.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names: tuple[str, ...] = ()
    """Names of the losses that :meth:`forward` returns. It always returns all of them."""
    compares_classes = False
    """Whether class scores are compared, so that the teacher must know the classes of the data, in the same order."""
    teacher_classes: str | list[str] | None = None
    """Names of the teacher's classes where they are not those of the data, or ``'checkpoint'``, which reads them."""
    query_grad = False
    """Whether the answers of :meth:`query` carry gradient to the student's tensors. The teacher never gets any."""
    reads_parameters = False
    """Whether taps may be ``param:PATH``, which read parameters and no outputs."""
    may_rest: tuple[str, ...] = ()
    """Aliases of taps on the student whose modules need not run at every batch; their outputs are then empty."""
    combines = False
    """Whether several teachers can teach together, ``source=['a', 'b']``. All have the taps of the first one; the
    aliases of those of ``'b'`` are :func:`~kd_plugins.distillers.sources.alias_beside`."""
    common_settings: tuple[str, ...] = ('on',)
    """Settings in the config of every distiller, which :func:`~kd_plugins.utils.build.build` sets as attributes."""

    def __init__(
        self,
        weight: float | dict[str, Any] = 1.0,
        source: str | list[str] = 'auto',
        key: str = 'distillers.<name>',
    ) -> None:
        super().__init__()
        self.key = key
        self.source, self.others = check_source(key, source, type(self).__name__, self.combines)
        self.schedule = build_schedule(weight, f'{key}.weight')
        self._on = 'labelled'

    @property
    def on(self) -> str:
        """Images on which the distiller teaches: ``'labelled'``, those of the run, or ``'unlabelled'``.

        Unlabelled images are those of ``unlabelled=`` in the hook; their data samples hold pseudo labels, or none.

        Raises:
            ConfigError: If it is set to something else.
        """
        return self._on

    @on.setter
    def on(self, value: str) -> None:
        self._on = check_choice(f'{self.key}.on', value, IMAGES)

    @property
    def needs_labels(self) -> str | None:
        """Setting that reads labels, and its nearest valid value: end of the sentence that refuses unlabelled images.

        None, the default, where no setting reads labels.
        """
        return None

    def student_taps(self) -> dict[str, str]:
        """Return the taps on the student: alias to module path."""
        raise ConfigError(f'{self.key}: {type(self).__name__} must define student_taps()')

    def teacher_taps(self) -> dict[str, str]:
        """Return the taps on the teacher: alias to module path. The default is the student's taps."""
        return self.student_taps()

    def take_classes(self, teacher: str, teacher_classes: Sequence[str], classes: Sequence[str]) -> None:
        """Keep which classes student and teacher share; called before :meth:`check_models` with ``teacher_classes``.

        Args:
            teacher: Config key of the teacher, for error sentences.
            teacher_classes: Names of its classes.
            classes: Names of the classes of the training data.

        Raises:
            ConfigError: If they do not fit together.
        """

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Check the settings against both networks and keep constants (strides, ``reg_max``), never modules.

        Args:
            student: The student network.
            teacher: The teacher network, or the student itself where ``source='student'``.

        Raises:
            ConfigError: If they do not fit together.
        """

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Check the shapes of a small batch and create adapters that fit them.

        The batch has two images of the training data, or one where the run has one in a batch, so check and keep
        channels and levels, not the number of images. The pass has no gradient.

        Args:
            student_outputs: Outputs of the student's taps.
            teacher_outputs: Outputs of the teacher's taps.

        Raises:
            ConfigError: If the shapes do not fit together.
        """

    @property
    def asks(self) -> bool:
        """Whether the distiller has a :meth:`query`."""
        return type(self).query is not BaseDistiller.query

    def query(
        self, model: nn.Module, features: Any, student_outputs: Taps, teacher_outputs: Taps, batch: Batch
    ) -> Taps | None:
        """Ask the teacher about the places that the student has looked at, which differ from the teacher's own.

        It is called after the student's forward pass, under its autocast, in every step in which :meth:`forward`
        follows; :meth:`initialize` sees no answers. It has no gradient unless :attr:`query_grad` is set. Then the
        gradient goes through the teacher's layers to the student's tensors. The model is in eval mode; keep no part of
        it. The default asks nothing.

        Args:
            model: The teacher.
            features: What its ``extract_feat`` returned for the batch, computed once for all distillers.
            student_outputs: Outputs of the student's taps, in float32.
            teacher_outputs: Outputs of the teacher's taps, likewise, without gradient.
            batch: The batch.

        Returns:
            Name to tensors, which join the outputs of the teacher's taps; in float32 when :meth:`forward` gets them.
        """
        return None

    @property
    def asks_student(self) -> bool:
        """Whether the distiller has a :meth:`query_student`."""
        return type(self).query_student is not BaseDistiller.query_student

    def query_student(
        self, model: nn.Module, student_outputs: Taps, teacher_outputs: Taps, batch: Batch
    ) -> Taps | None:
        """Ask the student about places that it has not looked at, such as those of the teacher.

        It is called after :meth:`query`, inside the student's forward pass and under its autocast, in every step in
        which :meth:`forward` follows. Layers of the student that are called here add to the graph of the step, and
        the gradient goes to their weights and to the outputs of the student's taps. No tap records these calls.
        Dropout draws from a generator of the iteration, so the random numbers of the run stay as they are, and so do
        the running statistics of normalisation layers. The model is in train mode; keep no part of it. The default asks
        nothing.

        Args:
            model: The student.
            student_outputs: Outputs of the student's taps, in float32, with gradient.
            teacher_outputs: Outputs of the teacher's taps and the answers of :meth:`query`, without gradient unless
                :attr:`query_grad` is set.
            batch: The batch.

        Returns:
            Name to tensors, which join the outputs of the student's taps; in float32 when :meth:`forward` gets them.
        """
        return None

    def spec(self) -> dict[str, Any]:
        """Return a description of the adapters, for error sentences and preflight."""
        return {name: repr(child) for name, child in self.named_children()}

    def monitors(self) -> dict[str, Tensor]:
        """Return values of the last batch to log beside the losses, each of shape ``()``. The default has none."""
        return {}

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return each of :attr:`loss_names` with its unweighted value of shape ``()``.

        Args:
            student_outputs: Outputs of the student's taps, in float32 and outside autocast.
            teacher_outputs: Outputs of the teacher's taps, likewise, without gradient.
            batch: The batch.
        """
        raise ConfigError(f'{self.key}: {type(self).__name__} must define forward(...)')
