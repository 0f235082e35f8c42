"""Teachers asked about the student's places: when, with what, and what stays behind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from kd_plugins.distillers import BaseDistiller, Batch
from kd_plugins.errors import ConfigError
from kd_plugins.hooks.queries import Queries
from kd_plugins.hooks.session import DistillSession
from kd_plugins.teachers import EMATeacher, FinishedTeacher
from tests.hooks.tiny_runs import TinyGap, TinyStudent

IMAGES = torch.tensor([[1.0, -1.0], [0.5, 2.0]])
KEY = 'distill.gap.loss_gap'


class Extracting(TinyStudent):
    """A student with ``extract_feat``, which counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout.p = 0.0
        self.extracted = 0

    def extract_feat(self, inputs: Tensor) -> Tensor:
        self.extracted += 1
        return self.first(inputs)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        outputs = self.second(self.extract_feat(inputs).relu())
        return {'loss_task': outputs.square().mean()} if mode == 'loss' else outputs


class AskingGap(TinyGap):
    """Difference of the student's output and the teacher's last layer, asked about the input of the student's."""

    query_grad = True

    def __init__(self, own: str | None = 'second', **common: Any) -> None:
        super().__init__(**common)
        self.own = own
        self.asked: list[Any] = []

    def student_taps(self) -> dict[str, str]:
        return {'tap': 'second', 'place': 'second:in.0'}

    def teacher_taps(self) -> dict[str, str]:
        return {} if self.own is None else {'own': self.own}

    def query(self, model: Any, features: Any, student_outputs: Any, teacher_outputs: Any, batch: Batch) -> Any:
        assert not model.training and not features.requires_grad
        answer = model.second(student_outputs['place'][0])
        self.asked.append((features, torch.is_grad_enabled(), answer.dtype, batch))
        return {'tap': [answer]}


def attached(distiller: BaseDistiller | None = None, **options: Any) -> DistillSession:
    torch.manual_seed(0)
    student, teacher = Extracting(), EMATeacher(**options)
    teacher.prepare(student)
    with torch.no_grad():
        teacher.model.second.bias.add_(1)
    distillers = {'gap': AskingGap() if distiller is None else distiller}
    session = DistillSession(student, distillers, {'teacher': teacher}, lambda: None)
    session.weights = {'gap': 1.0}
    return session


def test_the_answer_joins_the_taps_of_the_teacher() -> None:
    session = attached()
    teacher: Any = session.teachers['teacher'].model
    for step in range(3):
        losses = session.student(IMAGES, None, mode='loss')
        torch.testing.assert_close(losses[KEY], torch.tensor(1.0))
        losses[KEY].backward()
        features, grad, _, batch = session.distillers.members['gap'].asked[step]
        torch.testing.assert_close(features, teacher.first(IMAGES))
        assert grad and batch.inputs is IMAGES
    assert teacher.extracted == 3, 'the features are those of the pass for the taps'
    assert session.student.second.bias.grad is not None and session.student.first.weight.grad is not None
    assert all(param.grad is None for param in teacher.parameters())
    session.detach()
    for model in (session.student, teacher):
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
        assert 'extract_feat' not in vars(model)
    assert not session.distillers.state_dict()


@pytest.mark.parametrize(('own', 'heads'), [('second', 1), ('first', 1), (None, 0)])
def test_a_pass_ends_where_its_results_end(own: str | None, heads: int) -> None:
    """The first pass for taps runs to its end; without taps, only the features are computed."""
    session = attached(AskingGap(own))
    teacher: Any = session.teachers['teacher'].model
    ran: list[str] = []
    # The question itself calls the layer once in each step.
    teacher.second.register_forward_hook(lambda *call: ran.append('second'))
    for _ in range(3):
        session.student(IMAGES, None, mode='loss')
        torch.testing.assert_close(session.distillers.members['gap'].asked[-1][0], teacher.first(IMAGES))
    assert len(ran) == heads + 3


def test_without_gradient_by_default() -> None:
    class Constant(AskingGap):
        query_grad = False

    session = attached(Constant())
    session.student(IMAGES, None, mode='loss')[KEY].backward()
    assert not session.distillers.members['gap'].asked[0][1]


def test_answers_under_autocast_and_losses_outside() -> None:
    session = attached()
    seen: list[Any] = []
    session.distillers.members['gap'].register_forward_pre_hook(lambda module, args: seen.append(args))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = session.student(IMAGES, None, mode='loss')
    assert session.distillers.members['gap'].asked[0][2] == torch.bfloat16
    assert seen[0][1]['tap'][0].dtype == losses[KEY].dtype == torch.float32


def test_no_question_without_weight() -> None:
    session = attached()
    session.student(IMAGES, None, mode='loss')
    session.weights = {'gap': 0.0}
    assert session.student(IMAGES, None, mode='loss')[KEY] == 0
    assert len(session.distillers.members['gap'].asked) == 1


def test_the_pass_before_training_asks_nothing() -> None:
    session = attached()
    with session.recording(), torch.no_grad():
        session.student(IMAGES, None, mode='loss')
    session.create_adapters()
    assert session.initialized and not session.distillers.members['gap'].asked and not session.queries._features
    torch.testing.assert_close(session.student(IMAGES, None, mode='loss')[KEY], torch.tensor(1.0))


def test_a_teacher_that_predicts_runs_to_its_end() -> None:
    session = attached(AskingGap(None), mode='predict')
    ran: list[str] = []
    session.teachers['teacher'].model.second.register_forward_hook(lambda *call: ran.append('second'))
    session.student(IMAGES, None, mode='loss')
    assert ran == ['second', 'second']


def test_sentences() -> None:
    student, teacher = TinyStudent(), EMATeacher()
    teacher.prepare(student)
    distillers = {'gap': AskingGap(key='distillers.gap')}
    with pytest.raises(ConfigError, match='distillers.gap: AskingGap asks a teacher .* its source is the student'):
        Queries(distillers, {}, {'gap': None})
    with pytest.raises(ConfigError, match='of its extract_feat, which TinyStudent has not; nearest'):
        Queries(distillers, {'teacher': teacher}, {'gap': 'teacher'})
    extracting = EMATeacher()
    extracting.prepare(Extracting())
    distillers['gap'].on = 'unlabelled'
    view: Any = SimpleNamespace(views={'unlabelled': SimpleNamespace(mixes=True)})
    with pytest.raises(ConfigError, match='student_view: SimpleNamespace mixes images'):
        Queries(distillers, {'teacher': extracting}, {'gap': 'teacher'}, view)
    view.views['unlabelled'].mixes = False
    Queries(distillers, {'teacher': extracting}, {'gap': 'teacher'}, view)


def test_an_answer_with_the_name_of_a_tap_is_an_error() -> None:
    class Twice(AskingGap):
        def teacher_taps(self) -> dict[str, str]:
            return {'tap': 'second'}

    session = attached(Twice(key='distillers.gap'))
    with pytest.raises(ConfigError, match="distillers.gap: Twice has an answer and a tap with the name 'tap'"):
        session.student(IMAGES, None, mode='loss')


@pytest.mark.parametrize('own', ['second', None])
def test_a_finished_teacher_uses_the_features_of_the_student(own: str | None) -> None:
    torch.manual_seed(0)
    student, teacher = Extracting(), FinishedTeacher()
    student.first.requires_grad_(False)
    teacher.frozen = {'first': student.first}
    teacher.prepare(student)
    with torch.no_grad():
        student.second.bias.sub_(1)
    session = DistillSession(student, {'gap': AskingGap(own)}, {'teacher': teacher}, lambda: None)
    session.weights = {'gap': 1.0}
    ran: list[str] = []
    forward = student.first.forward
    student.first.forward = lambda x: ran.append('first') or forward(x)  # type: ignore[method-assign]
    for _ in range(2):
        losses = student(IMAGES, None, mode='loss')
        torch.testing.assert_close(losses[KEY], torch.tensor(1.0))
    assert ran == ['first', 'first']
    session.detach()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in student.modules())


class AskingStudent(TinyGap):
    """Difference of both networks at the teacher's input of the last layer."""

    def __init__(self, alias: str = 'asked', **common: Any) -> None:
        super().__init__(**common)
        self.alias = alias
        self.asked: list[Any] = []

    def student_taps(self) -> dict[str, str]:
        return {'seen': 'second'}

    def teacher_taps(self) -> dict[str, str]:
        return {'place': 'second:in.0', 'tap': 'second'}

    def query_student(self, model: Any, student_outputs: Any, teacher_outputs: Any, batch: Batch) -> Any:
        (place,) = teacher_outputs['place']
        # A call of the whole model wakes neither distillation nor a tap.
        assert model.training and set(model(IMAGES, None, mode='loss')) == {'loss_task'}
        answer = model.second(model.dropout(place))
        self.asked.append((answer.requires_grad, torch.is_autocast_enabled('cpu'), batch, torch.rand(1)))
        return {self.alias: [answer]}

    def forward(self, student_outputs: Any, teacher_outputs: Any, batch: Batch) -> dict[str, Tensor]:
        assert len(student_outputs['seen']) == 1
        (mine,), (theirs,) = student_outputs['asked'], teacher_outputs['tap']
        return {'loss_gap': (mine - theirs).square().mean()}


def test_the_student_answers_about_the_places_of_the_teacher() -> None:
    session = attached(AskingStudent())
    teacher: Any = session.teachers['teacher'].model
    for _ in range(2):
        losses = session.student(IMAGES, None, mode='loss')
        # Same weights but for the bias of the last layer, at the same places.
        torch.testing.assert_close(losses[KEY], torch.tensor(1.0))
    losses[KEY].backward()
    assert session.student.second.bias.grad is not None and session.student.first.weight.grad is None
    assert all(param.grad is None for param in teacher.parameters())
    assert all(seen[0] for seen in session.distillers.members['gap'].asked)
    session.detach()
    for model in (session.student, teacher):
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not session.distillers.state_dict() and not session._calls


def test_the_student_answers_with_numbers_of_the_step() -> None:
    session = attached(AskingStudent())
    session.student.dropout.p = 0.5

    def step(iteration: int, weight: float = 1.0) -> tuple[float, Tensor]:
        torch.manual_seed(4)
        session.iteration, session.weights = iteration, {'gap': weight}
        return float(session.student(IMAGES, None, mode='loss')[KEY].detach()), torch.rand(3)

    (first, state), (other, _), (again, _) = step(0), step(1), step(0)
    assert first == again != other
    torch.testing.assert_close(state, step(0, weight=0.0)[1], rtol=0, atol=0)
    assert len(session.distillers.members['gap'].asked) == 3


def test_the_student_answers_under_its_autocast_and_before_training_never() -> None:
    session = attached(AskingStudent())
    with session.recording(), torch.no_grad():
        session.student(IMAGES, None, mode='loss')
    session.create_adapters()
    asked = session.distillers.members['gap'].asked
    assert not asked
    seen: list[Any] = []
    session.distillers.members['gap'].register_forward_pre_hook(lambda module, args: seen.append(args))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        session.student(IMAGES, None, mode='loss')
    assert asked[0][1] and seen[0][0]['asked'][0].dtype == torch.float32


def test_an_answer_of_the_student_with_the_name_of_a_tap_is_an_error() -> None:
    session = attached(AskingStudent('seen', key='distillers.gap'))
    with pytest.raises(ConfigError, match="AskingStudent has an answer and a tap with the name 'seen'"):
        session.student(IMAGES, None, mode='loss')
    assert not session._calls
