"""What every teacher does: a copy in eval mode without gradient, on inputs of its own."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from kd_plugins.errors import ConfigError
from kd_plugins.taps import TapSet
from kd_plugins.teachers import BaseTeacher, EMATeacher
from kd_plugins.teachers.base import copy_inputs
from tests.teachers.networks import TinyNet, same, step


def test_teacher_is_frozen_and_independent() -> None:
    student = TinyNet()
    student(torch.randn(8, 2)).sum().backward()
    teacher = EMATeacher()
    teacher.prepare(student)
    assert same(teacher.model, student)
    assert not teacher.model.training and all(
        not p.requires_grad and p.grad is None for p in teacher.model.parameters()
    )
    step(student)
    assert not same(teacher.model, student)
    teacher.model.train()
    before = teacher.model.norm.running_mean.clone()
    teacher.run((torch.randn(8, 2),), {'mode': 'loss'})
    assert torch.equal(teacher.model.norm.running_mean, before), 'run() goes back to eval mode'


@pytest.mark.parametrize('mode', ['tensor', 'loss', 'predict'])
def test_the_network_runs_in_the_mode_of_the_teacher(mode: str) -> None:
    class Listening(TinyNet):
        def forward(self, inputs: torch.Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
            calls.append((mode, data_samples, torch.is_grad_enabled()))

    calls: list[Any] = []
    teacher = EMATeacher(mode=mode)
    teacher.prepare(Listening())
    teacher.run((torch.zeros(2, 2),), {'data_samples': ['a', 'b'], 'mode': 'loss'})
    assert calls == [(mode, ['a', 'b'], False)]


def test_extract_feat_stops_after_the_features() -> None:
    teacher = EMATeacher(mode='extract_feat')
    teacher.prepare(TinyNet())
    ran: list[str] = []
    teacher.model.fc.register_forward_hook(lambda *call: ran.append('fc'))
    teacher.model.norm.register_forward_hook(lambda *call: ran.append('norm'))
    teacher.run((torch.zeros(2, 2), None, 'loss'), {})
    assert ran == ['fc']


def test_a_teacher_that_writes_into_its_inputs_leaves_the_students() -> None:
    class Writer(TinyNet):
        def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
            inputs['voxels']['voxels'].add_(1)
            return inputs

    teacher = EMATeacher()
    teacher.prepare(Writer())
    inputs = {'points': [torch.zeros(3, 4)], 'voxels': {'voxels': torch.zeros(2, 3)}}
    teacher.run((inputs,), {'mode': 'loss'})
    assert torch.equal(inputs['voxels']['voxels'], torch.zeros(2, 3))


def test_a_tensor_of_images_is_not_copied() -> None:
    images = torch.zeros(2, 3)
    assert copy_inputs(images) is images
    points = [torch.zeros(3)]
    copied = copy_inputs({'points': points, 'name': 'a'})
    assert copied['name'] == 'a' and copied['points'][0] is not points[0]


@pytest.mark.parametrize(
    ('mode', 'sentence'),
    [
        ('tensors', "teacher.mode is 'tensors'; nearest: 'tensor'"),
        (None, "teacher.mode is None; valid: 'tensor', 'loss'"),
    ],
)
def test_unknown_modes(mode: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        EMATeacher(mode=mode)


def test_a_teacher_without_a_network_says_so() -> None:
    with pytest.raises(ConfigError, match='EMATeacher was asked for its model before training began'):
        EMATeacher().model
    with pytest.raises(ConfigError, match='teachers.mine: BaseTeacher must define prepare'):
        BaseTeacher(key='teachers.mine').prepare(TinyNet())


@pytest.mark.parametrize('mode', ['tensor', 'extract_feat'])
def test_arguments_may_have_any_names(mode: str) -> None:
    class Classifier(TinyNet):
        def forward(self, imgs: torch.Tensor, labels: Any = None, mode: str = 'tensor') -> Any:
            calls.append((imgs, labels, mode))

        def extract_feat(self, imgs: torch.Tensor) -> Any:
            calls.append((imgs, 'labels', 'tensor'))

    calls: list[Any] = []
    teacher, images = EMATeacher(mode=mode), torch.zeros(2, 2)
    teacher.prepare(Classifier())
    teacher.run((images, 'labels', 'loss'), {})
    teacher.run((images, 'labels'), {'mode': 'loss'})
    teacher.run((), {'imgs': images, 'labels': 'labels', 'mode': 'loss'})
    assert len(calls) == 3 and all(call[0] is images and call[1:] == ('labels', 'tensor') for call in calls)


def test_only_a_network_in_train_mode_is_put_into_eval_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, walks = EMATeacher(), []
    teacher.prepare(TinyNet())
    monkeypatch.setattr(TinyNet, 'eval', lambda self: walks.append('eval') or self.train(False))
    for _ in range(3):
        teacher.run((torch.zeros(2, 2),), {})
    assert not walks
    teacher.model.norm.train()
    teacher.run((torch.zeros(2, 2),), {})
    assert walks == ['eval'] and not teacher.model.norm.training


def test_outputs_are_constants_that_a_loss_can_keep() -> None:
    """A tensor of ``torch.inference_mode`` could not be saved for the backward pass of the student's loss."""
    outputs: list[torch.Tensor] = []
    teacher = EMATeacher()
    teacher.prepare(TinyNet())
    teacher.model.fc.register_forward_hook(lambda module, args, output: outputs.append(output))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        teacher.run((torch.zeros(2, 2),), {})
    teacher.run((torch.zeros(2, 2),), {})
    assert [output.dtype for output in outputs] == [torch.bfloat16, torch.float32], 'autocast of the student holds'
    student = torch.ones(2, 3, requires_grad=True)
    (student * outputs[1]).sum().backward()
    assert not outputs[1].requires_grad and not outputs[1].is_inference() and student.grad is not None


@pytest.mark.parametrize(('mode', 'calls'), [('tensor', 1), ('loss', 1), ('predict', 3)])
def test_a_teacher_stops_after_its_last_tap(mode: str, calls: int) -> None:
    """Predictions are written into the data samples, so only the other modes stop."""
    teacher, ran = EMATeacher(mode=mode), []
    teacher.prepare(TinyNet())
    teacher.model.norm.register_forward_hook(lambda *call: ran.append('norm'))
    taps = TapSet(teacher.model, {'key': 'fc'})
    for _ in range(3):
        teacher.run((torch.ones(2, 2),), {}, taps)
        assert len(taps.read('fc')) == 1 and torch.is_grad_enabled()
    assert len(ran) == calls


@pytest.mark.parametrize('mode', ['tensor', 'predict'])
def test_features_of_a_pass(mode: str) -> None:
    """Without taps there is no more than the features; with taps inside of them, the pass ends with the features."""
    teacher, images = EMATeacher(mode=mode), torch.ones(2, 2)
    teacher.prepare(TinyNet())
    model, ran = teacher.model, Counter()
    for name in ('fc', 'norm'):
        getattr(model, name).register_forward_pre_hook(lambda *call, name=name: ran.update([name]))
    whole = mode == 'predict'
    nothing, tapped = TapSet(model, {}), TapSet(model, {'key': 'fc'})
    for taps, counts in ((nothing, (1, whole)), (tapped, (1, 1)), (tapped, (1, whole))):
        ran.clear()
        features = teacher.run_and_extract((images,), {'mode': 'loss'}, taps)
        assert torch.equal(features, model.fc(images)) and teacher.mode == mode
        ran['fc'] -= 1
        assert (ran['fc'], ran['norm']) == counts and len(taps.recorded()) == (taps is tapped)
        assert 'extract_feat' not in vars(model)


def test_a_teacher_of_parameters_need_not_run() -> None:
    calls: list[int] = []
    student = TinyNet()
    teacher = EMATeacher()
    teacher.prepare(student)
    teacher.model.register_forward_hook(lambda *_: calls.append(1))
    taps = TapSet(teacher.model, {'a': 'param:**'}, 'teacher')
    teacher.run((torch.randn(8, 2),), {}, taps)
    assert calls == [] and taps.read('param:**') == list(teacher.model.parameters())
    teacher.mode = 'predict'
    teacher.run((torch.randn(8, 2),), {}, taps)
    assert calls == [1]
