"""Activation checkpointing beside a second pass: refused where ranks train together, a warning for BatchNorm layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kd_plugins.distillers import ParameterAnchor
from kd_plugins.errors import ConfigError
from kd_plugins.hooks import DistillHook
from kd_plugins.hooks.recomputation import recomputed_norms
from kd_plugins.hooks.session import DistillSession
from kd_plugins.registry import MODELS
from tests.hooks.tiny_runs import EMA, GAP, TinyGap, losses_of
from tests.hooks.unlabelled_runs import ON, NormedStudent, images
from tests.ranks import on_two_ranks

RISING = {'type': 'kd_plugins.LinearWarmup', 'value': 1.0, 'begin': 2, 'end': 4}
SENTENCE = 'default_hooks.distill.unlabelled: the model has layers with activation checkpointing (with_cp=True'


@MODELS.register_module(force=True)
class RecomputedStudent(NormedStudent):
    """A student whose BatchNorm layer lies inside activation checkpointing, as with ``with_cp=True``."""

    reentrant = True

    def __init__(self) -> None:
        super().__init__()
        self.dropout.p = 0.0

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        hidden = checkpoint(self.norm, self.first(inputs), use_reentrant=self.reentrant)
        outputs = self.second(hidden.relu())
        return {'loss_task': outputs.square().mean()} if mode == 'loss' else outputs


class ModernStudent(RecomputedStudent):
    reentrant = False


def training(work_dir: Path, student: type[nn.Module] = RecomputedStudent, weight: Any = RISING) -> Any:
    """Train on one rank or several; return the error sentence, or the losses."""
    settings: dict[str, Any] = {}
    if dist.is_initialized():
        wrapper = dict(type='MMDistributedDataParallel', device_ids=None)
        settings = dict(launcher='pytorch', cfg=dict(model_wrapper_cfg=wrapper))
    torch.manual_seed(1)
    unlabelled = images(weight=weight, statistics='both')
    distill = DistillHook({'gap': GAP, 'other': ON}, EMA, unlabelled=unlabelled)
    try:
        return losses_of(work_dir, [distill], epochs=1, model=student(), **settings)
    except ConfigError as error:
        return str(error)


@pytest.mark.distributed
def test_two_ranks_refuse_it_in_the_first_iteration(tmp_path: Path) -> None:
    for sentence in on_two_ranks(tmp_path, training, tmp_path / 'run'):
        assert isinstance(sentence, str) and sentence.startswith(SENTENCE)


@pytest.mark.distributed
@pytest.mark.parametrize(('student', 'weight'), [(ModernStudent, RISING), (RecomputedStudent, 0.0)])
def test_two_ranks_train_where_it_works(tmp_path: Path, student: type[nn.Module], weight: Any) -> None:
    for losses in on_two_ranks(tmp_path, training, tmp_path / 'run', student, weight):
        assert isinstance(losses, list) and losses[-1]['loss_task'] > 0


def test_a_loss_on_recomputed_parameters_is_refused(tmp_path: Path) -> None:
    def anchored(path: str) -> Any:
        student = RecomputedStudent()
        anchor = ParameterAnchor(f'param:{path}', key='distillers.anchor')
        session = DistillSession(student, {'anchor': anchor}, {}, lambda: None)
        session.weights = {'anchor': 1.0}
        try:
            return student(torch.ones(2, 2), None, mode='loss')
        finally:
            session.detach()

    assert set(anchored('norm.*')) == {'loss_task', 'distill.anchor.loss_anchor'}
    dist.init_process_group('gloo', init_method=f'file://{tmp_path}/rendezvous', rank=0, world_size=1)
    try:
        with pytest.raises(ConfigError, match='^distillers.anchor: it names parameters of layers with activation'):
            anchored('norm.*')
        assert 'distill.anchor.loss_anchor' in anchored('first.*')
    finally:
        dist.destroy_process_group()


def test_layers_that_a_distiller_runs_again_are_refused(tmp_path: Path) -> None:
    class Asking(TinyGap):
        """Asks the second layer, or the normalisation layer as well, which is recomputed."""

        again = False

        def query_student(self, model: Any, student_outputs: Any, teacher_outputs: Any, batch: Any) -> Any:
            (x,) = student_outputs['tap']
            return {'answer': [model.second(checkpoint(model.norm, x, use_reentrant=True) if self.again else x)]}

    def asked(again: bool) -> Any:
        student, distiller = RecomputedStudent(), Asking('norm', source='student', key='distillers.gap')
        distiller.again = again
        session = DistillSession(student, {'gap': distiller}, {}, lambda: None)
        session.weights = {'gap': 1.0}
        try:
            return student(torch.ones(2, 2), None, mode='loss')
        finally:
            session.detach()

    assert len(asked(True)) == 2
    dist.init_process_group('gloo', init_method=f'file://{tmp_path}/rendezvous', rank=0, world_size=1)
    try:
        assert len(asked(False)) == 2
        with pytest.raises(ConfigError, match='^distillers.gap: it runs layers with activation .* a second time in'):
            asked(True)
    finally:
        dist.destroy_process_group()


def test_one_process_trains(tmp_path: Path) -> None:
    losses = training(tmp_path / 'run')
    assert isinstance(losses, list) and losses[-1]['distill.other.loss_gap'] > 0


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Sentences that were logged."""
    sentences: list[str] = []
    monkeypatch.setattr('kd_plugins.hooks.recomputation.print_log', lambda text, **others: sentences.append(text))
    return sentences


def test_a_warning_names_the_layer(warned: list[str]) -> None:
    student = RecomputedStudent()
    inputs = torch.ones(2, 2)
    with recomputed_norms(student):
        student(inputs)
    assert len(warned) == 1
    assert "normalisation layers such as 'norm' lie inside activation checkpointing (with_cp), so that" in warned[0]
    for quiet in (NormedStudent(), RecomputedStudent().eval()):
        with recomputed_norms(quiet):
            quiet(inputs)
    assert len(warned) == 1 and not student.norm._forward_pre_hooks


@pytest.mark.parametrize('statistics', ['labelled', 'both'])
def test_a_run_warns_once(tmp_path: Path, statistics: str, warned: list[str]) -> None:
    distill = DistillHook({'other': ON}, EMA, unlabelled=images(weight=RISING, statistics=statistics))
    losses_of(tmp_path / 'run', [distill], model=RecomputedStudent())
    assert len(warned) == (statistics == 'labelled')
