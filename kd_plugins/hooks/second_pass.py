"""Second forward pass of the student in a training step, over unlabelled images."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from inspect import signature
from typing import Any

import torch
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from ..distillers.base import Batch
from ..distillers.collection import Term
from ..errors import ConfigError
from ..taps import TapSet
from ..utils.calls import ForwardCall
from ..utils.device import full_precision
from ..utils.loss_dicts import ADDED, tensors_of
from ..utils.rng import seeded_rng
from ..utils.sample_fields import kept_fields
from ..utils.scratch_state import scratch_state
from .recomputation import recomputed_norms
from .statistics import SeparateStatistics
from .student_view import StudentView
from .unlabelled import KEY, PSEUDO, Unlabelled

INSTANCES = ('gt_instances', 'ignored_instances')
"""Fields of MMDetection's data samples that hold boxes."""


@contextmanager
def statistics_of(student: nn.Module, unlabelled: Unlabelled) -> Iterator[None]:
    """Let normalisation layers move the running statistics that the setting ``statistics`` asks for.

    Args:
        student: The student.
        unlabelled: The unlabelled images.
    """
    if unlabelled.statistics == 'both':
        yield
        return
    first = torch.is_grad_enabled() and not unlabelled.separate.began
    with recomputed_norms(student) if first else nullcontext(), unlabelled.separate.used(student):
        yield


@contextmanager
def labels_kept(unlabelled: Unlabelled) -> Iterator[None]:
    """Run a pass that leaves the state of the pseudo labels as it is."""
    state = copy.deepcopy(unlabelled.state_dict())
    try:
        yield
    finally:
        unlabelled.load_state_dict(state)


@contextmanager
def without_trace(student: nn.Module, unlabelled: Unlabelled) -> Iterator[None]:
    """Run a pass without gradient that leaves the student and the pseudo labels as they are."""
    separate = unlabelled.separate
    unlabelled.separate = SeparateStatistics()
    try:
        with labels_kept(unlabelled), scratch_state(student), torch.no_grad():
            yield
    finally:
        unlabelled.separate = separate


def pass_context(
    student: nn.Module, unlabelled: Unlabelled, shapes_only: bool, counts: bool
) -> AbstractContextManager[None]:
    """Return the context in which the second pass runs, with what the pass must leave as it is.

    Args:
        student: The student.
        unlabelled: The unlabelled images.
        shapes_only: Whether the pass only shows the shapes of the outputs.
        counts: Whether the losses on pseudo labels count. A distiller's teacher may be ready before that of the pseudo
            labels, whose scores do not count then.
    """
    if shapes_only:
        return without_trace(student, unlabelled)
    return nullcontext() if counts else labels_kept(unlabelled)


def preprocessed(student: Any, batch: Any) -> ForwardCall:
    """Return the arguments of the student's forward call for a batch of unlabelled images.

    The preprocessor keeps its settings: the size that MMDetection's ``BatchSyncRandomResize`` draws for the batches of
    the next iterations is that of the labelled images.

    Args:
        student: An OpenMMLab model.
        batch: The batch. Images without annotations get a list of no boxes, which such steps read.
    """
    _add_no_boxes(batch)
    preprocessor = student.data_preprocessor
    kept = scratch_state(preprocessor, tensors=False) if isinstance(preprocessor, nn.Module) else nullcontext()
    with kept:
        data = preprocessor(batch, True)
    if isinstance(data, Mapping):
        return ForwardCall(student.forward, (), data)
    return ForwardCall(student.forward, tuple(data), {})


def _add_no_boxes(batch: Any) -> None:
    """Give the instances of images whose pipeline loads no annotations empty boxes, as ``LoadAnnotations`` does."""
    for sample in batch.get('data_samples') or () if isinstance(batch, Mapping) else ():
        for name in INSTANCES:
            instances = getattr(sample, name, None)
            if isinstance(instances, InstanceData) and not instances.keys():
                instances.bboxes, instances.labels = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)


def predictions(model: Any, call: ForwardCall) -> list[Any]:
    """Return what a teacher predicts, in the coordinates of its inputs where the model offers them.

    It predicts in float32 as in a validation, also inside autocast: MMCV's NMS takes no half precision, and neither
    does NumPy, to which pose estimators convert. Half precision rounds a box at 1000 pixels to half a pixel.

    Args:
        model: The teacher's network; it runs in eval mode.
        call: Arguments of the model. Its data samples stay as they are.
    """
    if any(module.training for module in model.modules()):
        model.eval()
    samples = copy.deepcopy(call.data_samples)
    options = {'rescale': False} if 'rescale' in signature(model.predict).parameters else {}
    if options:
        _as_unscaled(samples)
    with torch.no_grad(), full_precision(model):
        return list(model.predict(call.inputs, samples, **options))


def _as_unscaled(samples: Any) -> None:
    """Say of data samples that the input is the image: some heads make masks of the original size times the scale.

    A preprocessor that resizes the batch, such as MMDetection's ``BatchSyncRandomResize``, does not change the scale.
    """
    for sample in samples:
        size = getattr(sample, 'metainfo', {}).get('img_shape')
        if size is not None:
            sample.set_metainfo(dict(ori_shape=tuple(size[:2]), scale_factor=(1.0, 1.0)))


def second_pass(
    student: Any,
    forward: Callable[..., Any],
    unlabelled: Unlabelled,
    view: StudentView | None,
    teach: Callable[[ForwardCall], None],
    predict: Callable[[ForwardCall], list[Any]] | None,
    taps: TapSet,
    step: tuple[int, int, int, int],
) -> tuple[Batch, Mapping[str, Any]]:
    """Run teachers and student on the unlabelled batch of an iteration, while the taps record.

    All random numbers, from the preprocessor to dropout, come from the seed of the iteration and rank. A training step
    that calculates its loss twice, as sharpness-aware minimisation does, has a pass for each: the images are the same,
    and the preprocessor and the pseudo labels see them once.

    Args:
        student: The student.
        forward: Calls the student without its hooks of distillation.
        unlabelled: The unlabelled images, with a batch.
        view: Changes the student's images; ``None`` where it sees those of the teachers.
        teach: Runs the teachers on the unchanged images.
        predict: Returns what a teacher predicts for the unchanged images, for pseudo labels; ``None`` without.
        taps: The student's taps.
        step: 0-based iteration and epoch, and seed and length of the run.

    Returns:
        The batch that the student saw, and its losses on pseudo labels.

    Raises:
        ConfigError: If the student's loss reads labels that are not made here, such as a semantic map.
    """
    iteration = step[0]
    with seeded_rng(unlabelled.seed(iteration)):
        if unlabelled.call is None:
            unlabelled.call = preprocessed(student, unlabelled.batch)
        call = unlabelled.call
        samples, inputs = call.data_samples, call.inputs
        if view is not None:
            inputs = view.inputs(call, iteration, 'unlabelled')
        teach(call)
        if predict is not None and unlabelled.pseudo is not None:
            if unlabelled.labels is None:
                unlabelled.labels = unlabelled.pseudo(predict(call), samples)
            samples = unlabelled.labels
        mode = 'tensor' if predict is None else 'loss'
        with statistics_of(student, unlabelled), kept_fields(samples):
            taps.start()
            try:
                output = forward(**call.arguments(inputs=inputs, data_samples=samples, mode=mode))
            except AttributeError as error:
                if predict is None or not isinstance(error.obj, BaseDataElement):
                    raise
                label = (error.name or '').lstrip('_')
                raise ConfigError(
                    f"{KEY}.{PSEUDO}: the loss of '{type(student).__name__}' reads '{label}', which data samples of "
                    'unlabelled images do not have; nearest: pseudo=None with dense distillers'
                ) from error
            finally:
                taps.stop()
    return Batch(inputs, samples, *step), output if predict is not None else {}


def pseudo_terms(task: Mapping[str, Any], losses: Mapping[str, Any] | None, weight: float) -> list[Term]:
    """Return the losses on pseudo labels as terms, with the same names in every iteration.

    Args:
        task: The losses on labelled images, whose names are used.
        losses: The losses on pseudo labels; ``None`` where they are not computed, so that all are 0.
        weight: Their weight in this iteration.

    >>> [term.key for term in pseudo_terms({'loss_cls': torch.ones(()), 'acc': 1}, None, 0.0)]
    ['distill.pseudo.loss_cls']
    """
    reference = next((entry for value in task.values() for entry in tensors_of(value)), torch.zeros(()))
    values: dict[str, Tensor] = {key: reference.new_zeros((), dtype=torch.float32) for key in task if ADDED in key}
    for key, value in (losses or {}).items():
        entries = tensors_of(value) if ADDED in key else []
        if entries:
            values[key] = torch.stack([entry.float().mean() for entry in entries]).sum()
    return [Term(PSEUDO, key, value, weight, KEY) for key, value in values.items()]
