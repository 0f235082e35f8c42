"""Base class of all teachers: a model in eval mode and without gradient, which only its own rule changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..taps import TapSet
from ..utils.calls import ForwardCall
from ..utils.checks import check_choice, check_flag
from ..utils.device import full_precision
from ..utils.memory_format import contiguous
from ..utils.nested import map_tensors
from ..utils.sample_fields import kept_fields
from .folding import BatchNormFolding
from .student_copy import ModelBuilder, second_network

MODES = ('tensor', 'loss', 'predict', 'extract_feat')


class BaseTeacher:
    """A network that teaches the student.

    Every teacher also takes the setting ``shuffled`` in its config, see :attr:`shuffled`.

    A teacher is not an ``nn.Module``, so no optimizer, DDP reducer, EMA hook or checkpoint of the student contains it.

    Args:
        mode: How the network runs on the student's inputs: a ``mode`` of the OpenMMLab model (``'tensor'``, ``'loss'``,
            ``'predict'``) or ``'extract_feat'``, which stops after the neck and is enough for feature taps.
        key: Config key of the teacher, for error sentences.

    Raises:
        ConfigError: If ``mode`` is not valid.
    """

    after_student = False
    """Whether the teacher runs after the student's forward pass, to reuse its results, instead of before it."""
    predicts = True
    """Whether the network has the heads of a model of OpenMMLab, and so can predict labels."""
    counts_epochs = False
    """Whether :meth:`after_epoch` decides when the teacher is ready."""
    version: ClassVar[int] = 1
    """Version of the entries of :meth:`state_dict`; a checkpoint with another one is refused."""
    common_settings: ClassVar[tuple[str, ...]] = ('shuffled',)
    """Settings in the config of every teacher, which :func:`~kd_plugins.utils.build.build` sets as attributes."""

    def __init__(self, mode: str = 'tensor', key: str = 'teacher') -> None:
        self.key = key
        self.mode = check_choice(f'{key}.mode', mode, MODES)
        self.frozen: dict[str, nn.Module] = {}
        """Modules of the student that do not change in this run, by name; the hook sets it before :meth:`prepare`."""
        self.folding: BatchNormFolding | None = None
        """Faster form of the network, applied in the first pass; ``None`` where the weights change."""
        self.num_keys = 0
        """Number of keys of the network's state dict, before layers are folded."""
        self._model: nn.Module | None = None
        self._modules: list[nn.Module] = []
        self._shuffled = False

    @property
    def shuffled(self) -> bool:
        """Whether the teacher sees the images of a batch in another order, in which none keeps its place.

        This is a control: each image is taught with what the teacher says about another one. A batch of one image has
        no such order, so its distillers are skipped.

        Raises:
            ConfigError: If it is set to something other than a flag.
        """
        return self._shuffled

    @shuffled.setter
    def shuffled(self, value: bool) -> None:
        self._shuffled = check_flag(f'{self.key}.shuffled', value)

    @property
    def model(self) -> nn.Module:
        """The network, after :meth:`prepare`."""
        if self._model is None:
            raise ConfigError(f'{self.key}: {type(self).__name__} was asked for its model before training began')
        return self._model

    @property
    def ready(self) -> bool:
        """Whether the teacher can teach yet. As long as it cannot, the weight of its distillers is 0."""
        return True

    def prepare(
        self, student: nn.Module, iteration: int = 0, epoch: int = 0, build_model: ModelBuilder | None = None
    ) -> None:
        """Create the network; called once per run, when the student has loaded or resumed its weights.

        The hook calls it with forked generators of random numbers, so that the run draws the same numbers as without a
        teacher.

        Args:
            student: The student network.
            iteration: 0-based iteration at which training begins; greater than 0 in a resumed run.
            epoch: 0-based epoch at which training begins.
            build_model: Builds the network of the run's config; ``None`` where the run got a model object.
        """
        raise ConfigError(f'{self.key}: {type(self).__name__} must define prepare(...)')

    def before_student(self) -> None:
        """Prepare for the student's forward pass; called before it where :attr:`after_student` is true."""

    def forget(self) -> None:
        """Drop everything that :meth:`before_student` has stored."""

    def after_restart(self, student: nn.Module) -> None:
        """Take over parts of the student that have got new weights; called in a new run, after :meth:`prepare`."""

    def check_schedule(self, iteration: int, epoch_length: int, max_iters: int) -> None:
        """Refuse a run that ends before the teacher is ready; called after :meth:`load_state_dict`.

        Args:
            iteration: 0-based iteration at which training begins.
            epoch_length: Iterations of an epoch.
            max_iters: Iterations of the run.

        Raises:
            ConfigError: If the teacher would never teach.
        """

    def after_step(self, student: nn.Module, iteration: int) -> None:
        """Update the teacher after an optimizer step, in ``iteration`` (0-based).

        With ``accumulative_counts=4`` the optimizer steps in every fourth iteration.
        """

    def after_epoch(self, student: nn.Module, epoch: int) -> None:
        """Update the teacher after ``epoch`` (0-based)."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run cannot recompute."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of :meth:`state_dict`; called after :meth:`prepare`."""

    def _adopt(self, model: nn.Module) -> None:
        self._model = model.eval().requires_grad_(False)
        self._modules = list(model.modules())
        self.num_keys = len(model.state_dict())

    def _copy_of(self, student: nn.Module, build_model: ModelBuilder | None) -> None:
        self._adopt(second_network(student, build_model, self.key))

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any], taps: TapSet | None = None) -> None:
        """Run the network on the arguments of the student's forward call, while its taps record.

        From the second pass on, the network stops after its last tap. With ``mode='predict'`` it always runs to its
        end, because it writes its predictions into the data samples. Otherwise it does not run where all taps read
        parameters.

        Args:
            args: Positional arguments of the student's ``forward``.
            kwargs: Keyword arguments of the student's ``forward``.
            taps: Taps on the network, ``None`` where it has none.
        """
        if taps is not None and taps.parameters_only and self.mode != 'predict':
            return

        def forward() -> None:
            recording = nullcontext() if taps is None else taps.forward_pass(ends_early=self.mode != 'predict')
            # Inference mode is no faster, its tensors cannot be saved for the backward pass of the student's loss, and
            # they have no version, by which taps notice that an output was overwritten.
            # With mode='loss' the network may replace labels in the data samples, which are the student's as well.
            samples = ForwardCall(self.model.forward, args, kwargs).data_samples if self.mode == 'loss' else None
            with recording, torch.no_grad(), kept_fields(samples):
                self._forward(args, kwargs)

        if self.folding is not None and not self.folding.done and taps is not None:
            self.folding.apply(forward, taps)
            self._modules = list(self.model.modules())
        forward()

    def run_and_extract(self, args: tuple[Any, ...], kwargs: dict[str, Any], taps: TapSet) -> Any:
        """Run the network and return the features that its ``extract_feat`` gave.

        Where nothing is tapped, only the features are computed, unless ``mode='predict'`` needs the predictions.
        Like the outputs of taps, they are contiguous where the network computes with channels last.

        Args:
            args: Positional arguments of the student's ``forward``.
            kwargs: Keyword arguments of the student's ``forward``.
            taps: Taps on the network.
        """
        kept: list[Any] = []
        mode = self.mode
        try:
            with _results_kept(self.model, 'extract_feat', kept, taps.end_pass):
                if not taps.empty or mode == 'predict':
                    taps.continues = lambda: not kept
                    self.run(args, kwargs, taps)
                if not kept:
                    self.mode = 'extract_feat'
                    self.run(args, kwargs)
        finally:
            taps.continues, self.mode = None, mode
        return contiguous(kept[-1]) if taps.contiguous else kept[-1]

    def _forward(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # ``eval()`` of all modules takes milliseconds, and reading their flags takes microseconds.
        if any(module.training for module in self._modules):
            self.model.eval()
        # The first two arguments are inputs and data samples, whatever their names; the third is the mode.
        positional = list(args[:2])
        named = {name: value for name, value in kwargs.items() if name != 'mode'}
        if positional:
            positional[0] = copy_inputs(positional[0])
        else:
            name = 'inputs' if 'inputs' in named else next(iter(named), 'inputs')
            named[name] = copy_inputs(named.get(name))
        if self.mode == 'extract_feat':
            inputs = positional[0] if positional else named[name]
            self.model.extract_feat(inputs)  # type: ignore[operator]
            return
        with full_precision(self.model) if self.mode == 'predict' else nullcontext():
            self.model(*positional, **named, mode=self.mode)


@contextmanager
def _results_kept(model: nn.Module, name: str, kept: list[Any], then: Callable[[], None]) -> Iterator[None]:
    """Append what a method of a network returns to a list, and call a function each time."""
    method, before = getattr(model, name), vars(model).get(name)

    def keep(*args: Any, **kwargs: Any) -> Any:
        kept.append(method(*args, **kwargs))
        then()
        return kept[-1]

    setattr(model, name, keep)
    try:
        yield
    finally:
        if before is None:
            delattr(model, name)
        else:
            setattr(model, name, before)


def copy_inputs(inputs: Any) -> Any:
    """Return a copy of inputs that a network may change in place, as MMDetection3D's pillar encoders change voxels.

    A single tensor is returned unchanged: it is a batch of images, which no network of OpenMMLab changes.

    >>> voxels = torch.zeros(2)
    >>> copy_inputs({'voxels': {'coors': voxels}})['voxels']['coors'].add_(1), voxels
    (tensor([1., 1.]), tensor([0., 0.]))
    """
    return map_tensors(inputs, Tensor.clone) if isinstance(inputs, Mapping) else inputs
