"""Runs in which distillation would silently teach nothing stop with a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kd_plugins.distillers import Batch
from kd_plugins.errors import ConfigError
from kd_plugins.hooks import DistillHook
from kd_plugins.hooks.liveness import PATIENCE, reaches
from kd_plugins.hooks.observer import StepObserver
from kd_plugins.registry import MODELS
from tests.hooks.tiny_runs import ADAPTED, EMA, GAP, TinyGap, TinyStudent, losses_of


def hook(distiller: dict[str, Any], **options: Any) -> DistillHook:
    return DistillHook({'gap': distiller}, EMA, **options)


@MODELS.register_module(force=True)
class DetachedGap(TinyGap):
    """A gap that detaches the output of the student, so that its adapter alone learns."""

    def forward(self, student_outputs: Any, teacher_outputs: Any, batch: Batch) -> dict[str, Tensor]:
        detached = {'tap': [tensor.detach() for tensor in student_outputs['tap']]}
        return super().forward(detached, teacher_outputs, batch)


@MODELS.register_module(force=True)
class SometimesGap(TinyGap):
    """A gap that is a plain 0 in all but every third batch."""

    always_zero = False
    calls = 0

    def forward(self, student_outputs: Any, teacher_outputs: Any, batch: Batch) -> dict[str, Tensor]:
        self.calls += 1
        if self.always_zero or self.calls % 3:
            return {'loss_gap': torch.zeros(())}
        return super().forward(student_outputs, teacher_outputs, batch)


class Frozen(TinyStudent):
    """The first layer does not learn."""

    def __init__(self) -> None:
        super().__init__()
        self.first.requires_grad_(False)


class Checkpointed(TinyStudent):
    """The first layer lies in a region with activation checkpointing."""

    reentrant = True

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        inputs = inputs.requires_grad_(self.training)
        outputs = self.second(checkpoint(self.wrapped, inputs, use_reentrant=self.reentrant))
        return {'loss_task': outputs.square().mean()} if mode == 'loss' else outputs

    def wrapped(self, inputs: Tensor) -> Tensor:
        return self.dropout(self.first(inputs).relu())


@pytest.mark.parametrize('student', [Frozen, Checkpointed])
def test_a_tap_without_gradient(tmp_path: Path, student: type[TinyStudent]) -> None:
    with pytest.raises(ConfigError, match="distillers.gap: the student has no gradient at 'first', so it would learn"):
        losses_of(tmp_path / 'run', [hook({**GAP, 'tap': 'first'})], model=student())
    assert not list((tmp_path / 'run').glob('*.pth'))


@pytest.mark.parametrize('reentrant', [True, False])
def test_a_tap_behind_a_checkpointed_region_learns(tmp_path: Path, reentrant: bool) -> None:
    student = Checkpointed()
    student.reentrant = reentrant
    losses = losses_of(tmp_path / 'run', [hook(GAP)], model=student, epochs=1)
    assert losses[-1]['distill.gap.loss_gap'] > 0


def test_a_tap_inside_a_region_without_reentry_learns(tmp_path: Path) -> None:
    student = Checkpointed()
    student.reentrant = False
    assert losses_of(tmp_path / 'run', [hook({**GAP, 'tap': 'first'})], model=student, epochs=1)


def test_a_weight_of_0_needs_no_gradient(tmp_path: Path) -> None:
    assert losses_of(tmp_path / 'run', [hook({**GAP, 'tap': 'first', 'weight': 0.0})], model=Frozen(), epochs=1)


@pytest.mark.parametrize('adapter', [True, False])
def test_a_term_that_depends_on_no_parameter_of_the_student(tmp_path: Path, adapter: bool) -> None:
    distiller = {'type': 'kd_plugins.DetachedGap', 'adapter': adapter, 'factor': 2.0}
    if not adapter:
        distiller['weight'] = {'type': 'kd_plugins.Constant', 'value': 1.0, 'begin': 2}
    with pytest.raises(ConfigError, match="'distill.gap.loss_gap' depends on no parameter of the student"):
        losses_of(tmp_path / 'run', [hook(distiller)])


def test_it_is_checked_when_the_weight_rises_above_0(tmp_path: Path) -> None:
    late = {'type': 'kd_plugins.Constant', 'value': 1.0, 'begin': 3}
    seen: list[Any] = []
    distill = hook({'type': 'kd_plugins.DetachedGap', 'adapter': True, 'weight': late})
    distill.subscribe(seen.append)
    with pytest.raises(ConfigError, match='depends on no parameter'):
        losses_of(tmp_path / 'run', [distill])
    assert len(seen) == 3


def test_batches_without_objects_are_waited_for(tmp_path: Path) -> None:
    distill = hook({'type': 'kd_plugins.SometimesGap'})
    losses_of(tmp_path / 'run', [distill], epochs=1)
    always = hook({'type': 'kd_plugins.SometimesGap'})
    always.distillers['gap'].always_zero = True
    with pytest.raises(ConfigError, match='depends on no parameter'):
        losses_of(tmp_path / 'always', [always], epochs=PATIENCE // 4 + 1)


def test_a_custom_train_step_that_bypasses_the_loss(tmp_path: Path) -> None:
    class Own(TinyStudent):
        def train_step(self, data: Any, optim_wrapper: Any) -> Any:
            loss = self(data['inputs'], mode='tensor').square().mean()
            optim_wrapper.update_params(loss)
            return {'loss': loss}

    with pytest.raises(ConfigError, match="train_step of 'Own' did not call the model with mode='loss'"):
        losses_of(tmp_path / 'run', [hook(GAP)], model=Own())


def test_a_loss_that_mmengine_would_not_add() -> None:
    @MODELS.register_module(force=True)
    class Divergence(TinyGap):
        loss_names = ('kl',)

    with pytest.raises(ConfigError, match="distillers.gap: Divergence declares the loss 'kl'.*use 'loss_kl'"):
        hook({'type': 'kd_plugins.Divergence'})


@pytest.mark.parametrize('name', ['items', 'training', 'pop'])
def test_a_name_that_a_module_has(name: str) -> None:
    with pytest.raises(ConfigError, match=f"the name '{name}' is that of an attribute"):
        DistillHook({name: GAP}, EMA)


def test_a_tap_that_gives_more_tensors_later(tmp_path: Path) -> None:
    class Growing(TinyStudent):
        calls = 0

        def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
            if mode == 'loss':
                self.calls += 1
            if self.calls > 2 and self.training:
                self.second(self.first(inputs))
            return super().forward(inputs, data_samples, mode)

    with pytest.raises(ConfigError, match='distillers.gap.tap: the student gave 2 tensors, and 1 in the first pass'):
        losses_of(tmp_path / 'run', [hook(GAP)], model=Growing())


def test_commands_that_inspect_a_run_are_not_stopped(tmp_path: Path) -> None:
    distill = hook({**GAP, 'tap': 'first'})
    distill.subscribe(StepObserver(runs_all=True))
    assert losses_of(tmp_path / 'run', [distill], model=Frozen(), epochs=1)


def test_the_check_ends_when_it_is_proven(tmp_path: Path) -> None:
    sessions: list[Any] = []
    distill = hook(ADAPTED)
    distill.subscribe(lambda report: sessions.append(distill.session.liveness.proven))
    losses_of(tmp_path / 'run', [distill], epochs=1)
    assert sessions == [True] * 4


def test_graphs_are_followed_to_parameters() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    outputs = second(first(torch.ones(1, 2))).sum()
    assert reaches(outputs, first.parameters()) and reaches(outputs, [second.bias])
    assert not reaches(outputs, nn.Linear(2, 2).parameters()) and not reaches(torch.ones(()), first.parameters())
    assert reaches(first.bias, first.parameters())
