"""Taps, teacher and distillers on one student: when they run, and what joins the loss dict."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.structures import InstanceData
from torch import Tensor

from kd_plugins.errors import ConfigError
from kd_plugins.hooks.network_taps import as_float32
from kd_plugins.hooks.observer import StepObserver, StepReport
from kd_plugins.hooks.session import DistillSession
from kd_plugins.teachers import EMATeacher
from tests.hooks.tiny_runs import TinyGap, TinyStudent

IMAGES = torch.tensor([[1.0, -1.0], [0.5, 2.0]])
KEY = 'distill.gap.loss_gap'


def attached(weight: float = 2.0, teacher: EMATeacher | None = None, **options: Any) -> DistillSession:
    """Attach one distiller; its teacher, by default an average of the student, has other weights."""
    torch.manual_seed(0)
    student = TinyStudent()
    teacher = EMATeacher() if teacher is None else teacher
    teacher.prepare(student)
    with torch.no_grad():
        teacher.model.second.bias.add_(1)
    distillers = options.pop('distillers', {'gap': TinyGap()})
    session = DistillSession(student, distillers, {'teacher': teacher}, lambda: None, **options)
    session.weights = dict.fromkeys(distillers, weight)
    student.dropout.p = 0.0
    return session


def losses_of(session: DistillSession, mode: str = 'loss') -> Any:
    return session.student(IMAGES, None, mode=mode)


def test_the_weighted_loss_joins_the_dict() -> None:
    session = attached(weight=2.0)
    losses = losses_of(session)
    # Only the bias of the last layer differs, by 1.
    torch.testing.assert_close(losses[KEY], torch.tensor(2.0))
    assert list(losses) == ['loss_task', 'accuracy', KEY]
    losses[KEY].backward()
    assert session.student.second.weight.grad is not None
    assert all(param.grad is None for param in session.teachers['teacher'].model.parameters())


def test_only_training_is_distilled() -> None:
    session = attached()
    assert isinstance(losses_of(session, mode='tensor'), Tensor)
    session.student.eval()
    assert KEY not in losses_of(session)


def test_a_weight_of_zero_costs_no_teacher_but_keeps_the_key() -> None:
    session, runs = attached(weight=0.0), []
    session.teachers['teacher'].model.second.register_forward_pre_hook(lambda *call: runs.append('teacher'))
    losses_of(session)
    assert runs == ['teacher'], 'the first batch makes the adapters'
    losses = losses_of(session)
    assert runs == ['teacher'] and losses[KEY] == 0 and not losses[KEY].requires_grad
    session.weights['gap'] = 1.0
    assert losses_of(session)[KEY] > 0 and len(runs) == 2


def test_a_teacher_that_is_not_ready_does_not_teach() -> None:
    session = attached(teacher=EMATeacher(begin=5))
    losses_of(session)
    assert session.active() == [] and losses_of(session)[KEY] == 0


def test_a_teacher_stops_after_its_last_tap() -> None:
    session, runs = attached(distillers={'gap': TinyGap(tap='first')}), []
    session.teachers['teacher'].model.second.register_forward_hook(lambda *call: runs.append('teacher'))
    expected = losses_of(session)
    assert runs == ['teacher'], 'the first pass runs to its end'
    losses = losses_of(session)
    assert runs == ['teacher'] and torch.equal(losses[KEY], expected[KEY])


def test_an_observer_can_make_every_distiller_run() -> None:
    observer = StepObserver(runs_all=True)
    session = attached(weight=0.0, observers=[observer])
    session.iterations = 9
    losses_of(session)
    losses_of(session)
    assert observer.report is not None
    (term,) = observer.report.terms
    assert (term.key, term.weight) == (KEY, 0.0) and term.weighted == 0
    torch.testing.assert_close(term.raw.detach(), torch.tensor(1.0))
    assert observer.report.student_shapes == observer.report.teacher_shapes['teacher'] == {'second': [(2, 3)]}
    assert observer.report.batch.progress is None, 'an inspection is in no part of a run'


def test_the_start_of_adapters_depends_on_the_seed_and_the_name_alone() -> None:
    def start(names: str, seed: int = 1, draws: int = 0) -> Tensor:
        session = attached(distillers={name: TinyGap(adapter=True) for name in names})
        session.seed = seed
        torch.rand(draws)
        losses_of(session)
        return session.distillers.members['b'].adapter.weight.detach()

    expected = start('b')
    assert torch.equal(start('ab'), expected) and torch.equal(start('b', draws=3), expected)
    assert not torch.equal(start('b', seed=2), expected)


def test_observers_see_every_step() -> None:
    reports: list[StepReport] = []
    session = attached(observers=[reports.append])
    session.iteration, session.epoch, session.iterations = 7, 3, 14
    losses = losses_of(session)
    assert reports[0].terms[0].raw.requires_grad and torch.equal(reports[0].task_loss, losses['loss_task'].detach())
    assert (reports[0].batch.iteration, reports[0].batch.epoch, reports[0].batch.num_images) == (7, 3, 2)
    assert reports[0].batch.progress == 0.5


def test_a_layer_of_the_student_teaches_without_gradient() -> None:
    class Deeper(TinyGap):
        def teacher_taps(self) -> dict[str, str]:
            return {'tap': 'dropout'}

    session = attached(distillers={'gap': Deeper('first', source='student')})
    assert session.sources == {'gap': None}
    seen: list[Any] = []
    session.distillers.members['gap'].register_forward_pre_hook(lambda module, args: seen.append(args))
    losses_of(session)
    student_outputs, teacher_outputs, _ = seen[0]
    assert student_outputs['tap'][0].requires_grad and not teacher_outputs['tap'][0].requires_grad


def test_the_adapters_are_announced_once() -> None:
    announced: list[list[str]] = []
    student = TinyStudent()
    session = DistillSession(
        student,
        {'gap': TinyGap('first', adapter=True, source='student')},
        {},
        lambda: announced.append([name for name, _ in session.distillers.named_parameters()]),
    )
    losses_of(session)
    losses_of(session)
    assert announced == [['members.gap.adapter.weight', 'members.gap.adapter.bias']]


def test_making_adapters_draws_nothing_from_the_run() -> None:
    session = attached(distillers={'gap': TinyGap(adapter=True)})
    torch.manual_seed(5)
    expected = torch.rand(())
    torch.manual_seed(5)
    losses_of(session)
    assert torch.rand(()) == expected


def test_distillers_compute_in_float32_inside_autocast() -> None:
    seen: list[Any] = []
    session = attached()
    session.distillers.members['gap'].register_forward_pre_hook(lambda module, args: seen.append(args))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = losses_of(session)
    student_outputs, teacher_outputs, _ = seen[0]
    assert student_outputs['tap'][0].dtype == teacher_outputs['tap'][0].dtype == losses[KEY].dtype == torch.float32


def test_detaching_leaves_the_student_alone() -> None:
    session = attached()
    fields = set(vars(session.student))
    losses_of(session)
    session.detach()
    for module in session.student.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks
    assert set(vars(session.student)) == fields and list(losses_of(session)) == ['loss_task', 'accuracy']


def test_an_unknown_path_is_refused_before_any_hook_is_registered() -> None:
    student = TinyStudent()
    with pytest.raises(ConfigError, match="'secnd' names no module of the student; nearest: 'second'"):
        DistillSession(student, {'gap': TinyGap('secnd')}, {}, lambda: None)
    assert not student._forward_hooks and not student._forward_pre_hooks


def test_a_model_that_calls_itself_is_distilled_once() -> None:
    class Nested(TinyStudent):
        def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
            if mode != 'loss':
                return super().forward(inputs, data_samples, mode)
            outputs = self(inputs, data_samples, mode='tensor')
            return {'loss_task': outputs.square().mean(), **({} if inputs is IMAGES else self(IMAGES, mode='loss'))}

    student = Nested()
    teacher = EMATeacher()
    teacher.prepare(student)
    with torch.no_grad():
        teacher.model.second.bias.add_(1)
    session = DistillSession(student, {'gap': TinyGap()}, {'teacher': teacher}, lambda: None)
    session.weights = {'gap': 1.0}
    student.dropout.p = 0.0
    torch.testing.assert_close(losses_of(session)[KEY], torch.tensor(1.0))
    assert session.passes == 1


def test_an_exception_in_the_forward_pass_ends_its_call() -> None:
    session = attached()
    with pytest.raises(RuntimeError):
        session.student(torch.zeros(2, 7), None, mode='loss')
    assert KEY in losses_of(session)


def test_other_names_of_arguments() -> None:
    class Classifier(TinyStudent):
        def forward(self, imgs: Tensor, labels: Any, mode: str) -> Any:  # type: ignore[override]
            return super().forward(imgs, labels, mode)

    reports: list[StepReport] = []
    student = Classifier()
    gap = TinyGap('first', adapter=True, source='student')
    session = DistillSession(student, {'gap': gap}, {}, lambda: None, [reports.append])
    session.weights = {'gap': 1.0}
    student(IMAGES, 'labels', 'loss')
    student(labels='labels', imgs=IMAGES, mode='loss')
    assert [report.batch.data_samples for report in reports] == ['labels', 'labels']
    assert all(report.batch.inputs is IMAGES for report in reports)


@pytest.mark.parametrize('mode', ['tensor', 'loss'])
@pytest.mark.parametrize('after_student', [False, True])
def test_labels_that_a_loss_replaces_come_back(after_student: bool, mode: str) -> None:
    """As RTMDet-Ins does, whose loss cannot read its own masks a second time."""

    class Replacing(TinyStudent):
        def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
            for sample in data_samples:
                seen.append((self is session.student, sample.masks))
                sample.masks = [0] if mode == 'loss' else sample.masks
            return super().forward(inputs, data_samples, mode)

    seen: list[Any] = []
    teacher = EMATeacher(mode=mode)
    student = Replacing()
    teacher.prepare(student)
    teacher.after_student = after_student
    reports: list[StepReport] = []
    session = DistillSession(student, {'gap': TinyGap()}, {'teacher': teacher}, lambda: None, [reports.append])
    session.weights = {'gap': 1.0}
    student(IMAGES, [InstanceData(masks=[7])], mode='loss')
    assert sorted(seen) == [(False, [7]), (True, [7])]
    assert reports[0].batch.data_samples[0].masks == [7]


def test_half_precision_alone_is_converted() -> None:
    for dtype, expected in (
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.int64, torch.int64),
    ):
        assert as_float32(torch.zeros(1, dtype=dtype)).dtype == expected
    assert as_float32(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64
