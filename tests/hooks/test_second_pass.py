"""The student's pass over unlabelled images: its images, its random numbers, its statistics and its losses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from kd_plugins.distillers import BaseDistiller
from kd_plugins.errors import ConfigError
from kd_plugins.hooks.second_pass import predictions, preprocessed, pseudo_terms
from kd_plugins.hooks.session import DistillSession
from kd_plugins.hooks.student_view import StudentView
from kd_plugins.hooks.unlabelled import Unlabelled
from kd_plugins.teachers import EMATeacher, FrozenTeacher
from kd_plugins.utils.calls import ForwardCall
from tests.hooks.tiny_runs import TinyGap
from tests.hooks.unlabelled_runs import NoiseView, NormedStudent, RoundedLabels
from tests.hooks.unlabelled_runs import images as unlabelled_images
from tests.pseudo_labels.networks import DETECTORS, POSES, detector, images, persons, pose, predicted

LABELLED = torch.tensor([[1.0, -1.0], [0.5, 2.0]])


class LaterLayer(TinyGap):
    """A layer that learns from a later one of the same network."""

    def __init__(self, **common: Any) -> None:
        super().__init__('first', **common)

    def teacher_taps(self) -> dict[str, str]:
        return {'tap': 'norm'}


class Inputs:
    """Inputs of a network's calls."""

    def __init__(self, network: nn.Module) -> None:
        self.seen: list[Tensor] = []
        network.first.register_forward_pre_hook(lambda module, args: self.seen.append(args[0]))


def attached(
    *,
    view: NoiseView | None = None,
    after_student: bool = False,
    distillers: Any = None,
    student: type[NormedStudent] = NormedStudent,
    **settings: Any,
) -> tuple[DistillSession, Inputs, Inputs]:
    """Attach a distiller on labelled and one on unlabelled images, with a batch; return what the networks see."""
    torch.manual_seed(0)
    network, teacher = student(), EMATeacher()
    network.dropout.p = 0.0
    teacher.after_student = after_student
    teacher.prepare(network)
    if distillers is None:
        distillers = {'gap': TinyGap(), 'other': TinyGap()}
        distillers['other'].on = 'unlabelled'
    unlabelled = Unlabelled(unlabelled_images(**settings))
    unlabelled.open(0)
    unlabelled.weight = 1.0
    unlabelled.fetch(0)
    seen = Inputs(network), Inputs(teacher.model)
    bound = None if view is None else StudentView(dict.fromkeys(view.on, view), network.data_preprocessor, 0)
    session = DistillSession(network, distillers, {'teacher': teacher}, lambda: None, (), unlabelled, bound)
    session.weights = dict.fromkeys(distillers, 1.0)
    return session, *seen


@pytest.mark.parametrize('after_student', [False, True])
@pytest.mark.parametrize('on', [('labelled',), ('unlabelled',), ('labelled', 'unlabelled')])
def test_the_student_sees_the_view_and_the_teacher_the_images(on: Any, after_student: bool) -> None:
    session, student, teacher = attached(view=NoiseView(on), after_student=after_student)
    assert session.unlabelled is not None
    clean = [LABELLED, session.unlabelled.batch['inputs']]
    losses = session.student(LABELLED, None, mode='loss')
    assert [torch.equal(*pair) for pair in zip(teacher.seen, clean, strict=True)] == [True, True]
    expected = ['labelled' not in on, 'unlabelled' not in on]
    assert [torch.equal(*pair) for pair in zip(student.seen, clean, strict=True)] == expected
    # The teacher is a copy of the student in eval mode, so both terms come from BatchNorm and the view.
    assert losses['distill.gap.loss_gap'] > 0 and losses['distill.other.loss_gap'] > 0


def test_the_term_is_that_of_the_unlabelled_images() -> None:
    session, _, _ = attached()
    assert session.unlabelled is not None
    unlabelled = session.unlabelled.batch['inputs']
    losses = session.student(LABELLED, None, mode='loss')
    student, teacher = session.student, session.teachers['teacher'].model
    expected = (student(unlabelled) - teacher(unlabelled)).square().mean()
    torch.testing.assert_close(losses['distill.other.loss_gap'], expected)
    losses['distill.other.loss_gap'].backward()
    assert student.first.weight.grad is not None


def test_the_distiller_gets_the_batch_of_its_images() -> None:
    session, student, _ = attached(view=NoiseView())
    seen: dict[str, Any] = {}
    for name, distiller in session.distillers.items():
        distiller.register_forward_pre_hook(lambda module, args, name=name: seen.update({name: args[2].inputs}))
    session.student(LABELLED, None, mode='loss')
    assert torch.equal(seen['gap'], LABELLED) and torch.equal(seen['other'], student.seen[1])


def test_a_pass_before_the_weight_rises_only_shows_the_shapes() -> None:
    session, student, _ = attached(pseudo=RoundedLabels())
    assert session.unlabelled is not None and session.unlabelled.pseudo is not None
    session.unlabelled.weight = session.weights['other'] = 0.0
    assert session.wants_unlabelled
    generator = torch.get_rng_state()
    losses = session.student(LABELLED, None, mode='loss')
    assert session.initialized and len(student.seen) == 2 and not session.wants_unlabelled
    assert torch.equal(torch.get_rng_state(), generator) and session.unlabelled.pseudo.state_dict() == {'calls': 0}
    assert int(session.student.norm.num_batches_tracked) == 1 and not session.unlabelled.separate.began
    assert losses['distill.other.loss_gap'] == 0 and losses['distill.pseudo.loss_task'] == 0


def test_a_gradient_passes_through_both_passes() -> None:
    for statistics in ('labelled', 'both'):
        session, _, _ = attached(statistics=statistics, pseudo=RoundedLabels())
        losses = session.student(LABELLED, torch.ones(2, 3), mode='loss')
        sum(value for key, value in losses.items() if 'loss' in key).backward()
        assert all(parameter.grad is not None for parameter in session.student.parameters())


def test_pseudo_labels_reach_the_loss() -> None:
    session, _, teacher = attached(distillers={}, pseudo=RoundedLabels())
    assert session.unlabelled is not None
    labels = session.teachers['teacher'].model(session.unlabelled.batch['inputs']).round()
    losses = session.student(LABELLED, None, mode='loss')
    outputs = session.student(session.unlabelled.batch['inputs'])
    torch.testing.assert_close(losses['distill.pseudo.loss_task'], (outputs - labels).square().mean())
    assert len(teacher.seen) == 2, 'once here, and once for the labels'


class Growing(nn.Module):
    """A preprocessor that changes its batch, as MMDetection's steps on whole batches change the data samples."""

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        data['inputs'] += 1.0
        return dict(data)


def test_a_second_loss_in_a_step_has_the_same_images_and_labels() -> None:
    """As sharpness-aware minimisation needs them, at other weights."""
    pseudo = RoundedLabels()
    session, student, teacher = attached(distillers={}, pseudo=pseudo)
    assert session.unlabelled is not None
    session.student.data_preprocessor = Growing()
    first, second = (session.student(LABELLED, None, mode='loss') for _ in range(2))
    assert first.keys() == second.keys() and bool(second['distill.pseudo.loss_task'] > 0)
    assert torch.equal(student.seen[1], student.seen[3]) and len(student.seen) == 4
    assert pseudo.calls == 1 and len(teacher.seen) == 1
    session.unlabelled.fetch(1)
    session.student(LABELLED, None, mode='loss')
    assert pseudo.calls == 2 and not torch.equal(student.seen[5], student.seen[3])


class MaskStudent(NormedStudent):
    """A student whose loss reads masks of unlabelled images."""

    broken = False

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        if mode == 'loss' and data_samples is not None:
            data_samples = (self if self.broken else InstanceData()).masks
        return super().forward(inputs, data_samples, mode)


@pytest.mark.parametrize('broken', [False, True])
def test_a_loss_that_reads_other_labels_is_refused(broken: bool) -> None:
    session, *_ = attached(distillers={}, pseudo=RoundedLabels(), student=MaskStudent)
    session.student.broken = broken
    # A fault of the model itself stays what it is.
    error, text = (AttributeError, 'MaskStudent') if broken else (ConfigError, "pseudo: the loss of .* reads 'masks'")
    with pytest.raises(error, match=text):
        session.student(LABELLED, None, mode='loss')


def test_a_fault_without_pseudo_labels_stays_what_it_is() -> None:
    class Reading(NormedStudent):
        def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
            silent = mode == 'loss' or not self.training
            return super().forward(inputs, None, mode) if silent else InstanceData().masks

    session, *_ = attached(student=Reading)
    with pytest.raises(AttributeError, match='masks'):
        session.student(LABELLED, None, mode='loss')


def test_labels_of_a_teacher_that_is_not_ready_leave_no_trace() -> None:
    """The student teaches itself on the unlabelled images already."""
    distillers: dict[str, BaseDistiller] = {'other': LaterLayer(source='student')}
    distillers['other'].on = 'unlabelled'
    session, *_ = attached(distillers=distillers, pseudo=RoundedLabels())
    assert session.unlabelled is not None
    session.student(LABELLED, None, mode='loss')
    assert session.unlabelled.state_dict() == {'calls': 1}
    session.teachers['teacher'].begin.reached = False
    losses = session.student(LABELLED, None, mode='loss')
    assert losses['distill.other.loss_gap'] > 0 and losses['distill.pseudo.loss_task'] == 0
    assert session.unlabelled.state_dict() == {'calls': 1}


def test_a_tap_must_fire_equally_often_in_both_passes() -> None:
    distillers: dict[str, BaseDistiller] = {'other': TinyGap('first')}
    distillers['other'].on = 'unlabelled'
    session, student, teacher = attached(distillers=distillers)
    session.student(LABELLED, None, mode='loss')
    assert len(student.seen) == 2 and len(teacher.seen) == 1, 'the teacher teaches on one of the two'


def test_statistics_are_those_that_the_setting_asks_for() -> None:
    for statistics, moved in (('labelled', False), ('both', True)):
        session, _, _ = attached(statistics=statistics)
        session.student(LABELLED, None, mode='loss')
        assert int(session.student.norm.num_batches_tracked) == 1 + moved
        assert session.unlabelled is not None and session.unlabelled.separate.began is not moved


def test_a_batch_may_be_a_list() -> None:
    class Pair(nn.Module):
        def forward(self, imgs: Tensor, labels: Any, mode: str = 'tensor') -> Tensor:
            return imgs

        def data_preprocessor(self, batch: Any, training: bool) -> Any:
            assert training
            return batch

    call = preprocessed(Pair(), [LABELLED, [1, 2]])
    assert call.inputs is LABELLED and call.arguments(data_samples=[3]) == {'imgs': LABELLED, 'labels': [3]}


def test_unlabelled_images_do_not_decide_about_the_size_of_labelled_ones() -> None:
    pytest.importorskip('mmdet')
    from mmdet.models import DetDataPreprocessor
    from mmdet.structures import DetDataSample
    from mmengine.logging import MessageHub

    def batch(*shape: int) -> dict[str, Any]:
        sample = DetDataSample(metainfo=dict(img_shape=shape, ori_shape=shape))
        # PackDetInputs gives such instances where the pipeline has no LoadAnnotations.
        sample.gt_instances, sample.ignored_instances = InstanceData(), InstanceData()
        return {'inputs': [torch.zeros(3, *shape)], 'data_samples': [sample]}

    # The size of the following batches is drawn in the first iteration, and has the shape of the batch.
    augment = dict(type='mmdet.BatchSyncRandomResize', random_size_range=(32, 256), interval=1)
    student = SimpleNamespace(data_preprocessor=DetDataPreprocessor(batch_augments=[augment]), forward=lambda x: x)
    MessageHub.get_current_instance().update_info('iter', 0)
    student.data_preprocessor(batch(32, 32), True)
    before = student.data_preprocessor.batch_augments[0]._input_size = (64, 64)
    call = preprocessed(student, batch(32, 48))
    assert call.inputs.shape[2:] == before and call.data_samples[0].img_shape == before
    assert call.data_samples[0].gt_instances.bboxes.shape == (0, 4)
    assert student.data_preprocessor.batch_augments[0]._input_size == before


def test_predictions_are_in_the_coordinates_of_the_inputs() -> None:
    class Detector(nn.Module):
        def forward(self, inputs: Any, data_samples: Any, mode: str = 'tensor') -> Any: ...

        def predict(self, inputs: Any, samples: Any, rescale: bool = True) -> Any:
            assert not rescale and not self.training and not torch.is_grad_enabled()
            samples[0].append('predicted')
            return samples

    model, samples = Detector().train(), [['sample']]
    call = ForwardCall(model.forward, (LABELLED, samples), {})
    assert predictions(model, call) == [['sample', 'predicted']] and samples == [['sample']]


@pytest.mark.parametrize('name', [*DETECTORS, *POSES])
def test_predictions_in_mixed_precision_are_those_of_a_validation(name: str) -> None:
    """NMS takes no half precision, and NumPy no bfloat16."""
    model = detector(name) if name in DETECTORS else pose(name)
    inputs, samples = images(model) if name in DETECTORS else persons()
    expected = predicted(model, inputs, samples)
    model.eval()
    call = ForwardCall(model.forward, (inputs, samples), {})
    with torch.autocast('cpu', torch.bfloat16):
        made = predictions(model, call)
        teacher = FrozenTeacher(config='', checkpoint=None, mode='predict')
        teacher._adopt(model)
        teacher.run((), call.arguments())
    for one, other in zip(made, expected, strict=True):
        field = 'bboxes' if name in DETECTORS else 'keypoints'
        torch.testing.assert_close(*(torch.as_tensor(getattr(x.pred_instances, field)) for x in (one, other)))


def test_masks_have_the_size_of_the_input() -> None:
    """A batch that its preprocessor enlarges had masks of the size before, cut off at its border."""
    model = detector('mask')
    inputs, samples = images(model)
    for sample in samples:
        sample.set_metainfo(dict(scale_factor=(0.25, 0.25)))
    made = predictions(model, ForwardCall(model.forward, (inputs, samples), {}))
    assert [tuple(one.pred_instances.masks.shape[-2:]) for one in made] == [one.img_shape for one in samples]
    assert [one.scale_factor for one in samples] == [(0.25, 0.25)] * 2


def test_terms_keep_their_names() -> None:
    task = {'loss_cls': torch.tensor(1.0), 'd0.loss_bbox': [torch.tensor(1.0)], 'acc': torch.tensor(9.0)}
    losses = {'loss_cls': torch.ones(4), 'd0.loss_bbox': [torch.tensor(2.0), torch.tensor(3.0)], 'acc': torch.ones(())}
    names = ['distill.pseudo.loss_cls', 'distill.pseudo.d0.loss_bbox']
    terms = pseudo_terms(task, losses, 0.5)
    assert [term.key for term in terms] == names and [float(term.weighted) for term in terms] == [0.5, 2.5]
    terms = pseudo_terms(task, None, 0.0)
    assert [term.key for term in terms] == names and [float(term.raw) for term in terms] == [0.0, 0.0]
    assert all(term.on == 'unlabelled' for term in terms)
