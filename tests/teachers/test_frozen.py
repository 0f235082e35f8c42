"""Teachers: their rules, their state and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel, ExponentialMovingAverage
from torch import nn

from kd_plugins.errors import CheckpointError, ConfigError, KDPluginsError
from kd_plugins.registry import MODELS
from kd_plugins.teachers import EMATeacher, FrozenTeacher, SnapshotTeacher


@MODELS.register_module(force=True)
class TinyNet(BaseModel):
    """A linear layer with BatchNorm, so that there are float and integer buffers."""

    def __init__(self, width: int = 3, data_preprocessor: Any = None) -> None:
        super().__init__(data_preprocessor)
        self.fc = nn.Linear(2, width)
        self.norm = nn.BatchNorm1d(width)

    def extract_feat(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.fc(inputs)

    def forward(self, inputs: torch.Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        out = self.norm(self.extract_feat(inputs))
        return {'loss': out.mean()} if mode == 'loss' else out


def step(model: nn.Module) -> None:
    """Change every weight and buffer."""
    model.train()
    model(torch.randn(8, 2))
    with torch.no_grad():
        for param in model.parameters():
            param.add_(torch.randn_like(param))


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values())
    return all(torch.equal(a, b) for a, b in pairs)


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


def test_ema_equals_mmengines_average() -> None:
    student = TinyNet()
    teacher = EMATeacher(momentum=0.1)
    teacher.prepare(student)
    reference = ExponentialMovingAverage(student, momentum=0.1, update_buffers=True)
    reference.update_parameters(student)  # MMEngine's first update copies
    for iteration in range(5):
        step(student)
        teacher.after_iter(student, iteration)
        reference.update_parameters(student)
    for name, value in reference.module.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(teacher.model.state_dict()[name], value)


def test_ema_warmup_begin_and_interval() -> None:
    student = TinyNet()
    teacher = EMATeacher(momentum=0.1, begin=3, interval=2)
    teacher.prepare(student)
    assert not teacher.ready
    ready = []
    for iteration in range(8):
        step(student)
        teacher.after_iter(student, iteration)
        ready.append((teacher.ready, teacher.updates))
    assert ready == [(False, 0)] * 2 + [(True, 0)] * 2 + [(True, 1)] * 2 + [(True, 2)] * 2
    late = EMATeacher(momentum=0.1, begin=3)
    late.prepare(student, iteration=3)
    assert late.ready and same(late.model, student)
    epochs = EMATeacher(begin=2, by_epoch=True)
    epochs.prepare(student)
    epochs.after_epoch(student, 0)
    assert not epochs.ready
    step(student)
    epochs.after_epoch(student, 1)
    assert epochs.ready and same(epochs.model, student)
    momenta = [EMATeacher(momentum=0.01, warmup=5).momentum_at(k) for k in range(100)]
    assert (
        momenta == sorted(momenta, reverse=True) and momenta[0] > 0.8 and momenta[-1] == pytest.approx(0.01, rel=1e-3)
    )


def test_snapshot_is_as_old_as_it_says() -> None:
    student = TinyNet()
    teacher = SnapshotTeacher(epochs=2)
    teacher.prepare(student)
    history = []
    for epoch in range(4):
        assert teacher.ready == (epoch >= 2)
        if teacher.ready:
            assert same(teacher.model, history[epoch - 2])
        step(student)
        copy = TinyNet()
        copy.load_state_dict(student.state_dict())
        history.append(copy)
        teacher.after_epoch(student, epoch)


@pytest.mark.parametrize('make', [lambda: EMATeacher(momentum=0.3, interval=2), lambda: SnapshotTeacher(epochs=2)])
def test_state_continues_exactly(make: Any, tmp_path: Path) -> None:
    student = TinyNet()
    teacher = make()
    teacher.prepare(student)
    for iteration in range(3):
        step(student)
        teacher.after_iter(student, iteration)
        teacher.after_epoch(student, iteration)
    torch.save(teacher.state_dict(), tmp_path / 'teacher.pth')
    resumed = make()
    resumed.prepare(student, iteration=3, epoch=3)
    resumed.load_state_dict(torch.load(tmp_path / 'teacher.pth', weights_only=True))
    for iteration in range(3, 6):
        step(student)
        for one in (teacher, resumed):
            one.after_iter(student, iteration)
            one.after_epoch(student, iteration)
        assert same(teacher.model, resumed.model)


def frozen(checkpoint: Path | None, **model: Any) -> FrozenTeacher:
    path = None if checkpoint is None else str(checkpoint)
    return FrozenTeacher({'model': {'type': 'kd_plugins.TinyNet', **model}}, path)


def test_frozen_teacher_loads_everything(tmp_path: Path) -> None:
    source = TinyNet()
    torch.save({'state_dict': source.state_dict(), 'meta': {'dataset_meta': {'classes': ['a']}}}, tmp_path / 'x.pth')
    teacher = frozen(tmp_path / 'x.pth')
    teacher.prepare(TinyNet())
    assert same(teacher.model, source)
    assert teacher.classes == ('a',)
    assert teacher.report is not None and len(teacher.report.loaded) == 7 and not teacher.report.missing


def test_random_teacher_is_the_same_on_every_rank() -> None:
    first, second = frozen(None), frozen(None)
    first.prepare(TinyNet())
    torch.rand(3)
    second.prepare(TinyNet())
    assert same(first.model, second.model)


def test_checkpoint_sentences(tmp_path: Path) -> None:
    good = tmp_path / 'epoch_1.pth'
    torch.save({'state_dict': TinyNet().state_dict()}, good)
    (tmp_path / 'cut.pth').write_bytes(good.read_bytes()[:700])
    torch.save({'state_dict': nn.Conv2d(1, 1, 1).state_dict()}, tmp_path / 'foreign.pth')
    torch.save({'state_dict': {**TinyNet().state_dict(), 'old.bias': torch.zeros(1)}}, tmp_path / 'extra.pth')
    torch.save([1], tmp_path / 'list.pth')
    cases = [
        ('epoch_2.pth', {}, "teacher.checkpoint: '.*epoch_2.pth' does not exist; nearest: '.*epoch_1.pth'"),
        ('cut.pth', {}, 'is truncated or no PyTorch checkpoint'),
        (
            'foreign.pth',
            {},
            r"belongs to another model: none of its 2 keys \(for example 'weight'\) fits; nearest: '\w+.weight'",
        ),
        ('extra.pth', {}, "lacks 0 keys of the model and has 1 that it does not know .*'old.bias'"),
        ('epoch_1.pth', {'width': 4}, r"has shape \(3, 2\) for 'fc.weight' where the model has \(4, 2\)"),
        ('list.pth', {}, "holds a list; expected a dict with 'state_dict'"),
    ]
    for name, model, sentence in cases:
        with pytest.raises(CheckpointError, match=sentence):
            frozen(tmp_path / name, **model).prepare(TinyNet())
    lenient = FrozenTeacher({'model': {'type': 'kd_plugins.TinyNet'}}, str(tmp_path / 'extra.pth'), strict=False)
    lenient.prepare(TinyNet())
    assert lenient.report is not None and lenient.report.unexpected == ['old.bias']


def test_other_preprocessing_is_refused(tmp_path: Path) -> None:
    def preprocessing(mean: float) -> dict[str, Any]:
        return {'type': 'ImgDataPreprocessor', 'mean': [mean] * 3, 'std': [1.0] * 3}

    student = TinyNet(data_preprocessor=preprocessing(1.0))
    frozen(None, data_preprocessor=preprocessing(1.0)).prepare(student)
    with pytest.raises(ConfigError, match=r'data_preprocessor.mean is \[2.0, 2.0, 2.0\] where the student has \[1.0'):
        frozen(None, data_preprocessor=preprocessing(2.0)).prepare(student)


def test_other_voxels_are_refused() -> None:
    pytest.importorskip('mmdet3d')

    def preprocessing(size: float) -> dict[str, Any]:
        layer = dict(
            max_num_points=4, max_voxels=(9, 9), point_cloud_range=[0, 0, 0, 4, 4, 4], voxel_size=[size, size, 4]
        )
        return {'type': 'mmdet3d.Det3DDataPreprocessor', 'voxel': True, 'voxel_layer': layer}

    student = TinyNet(data_preprocessor=preprocessing(1.0))
    frozen(None, data_preprocessor=preprocessing(1.0)).prepare(student)
    with pytest.raises(ConfigError, match=r'data_preprocessor.voxel_layer is .*\[2.0, 2.0, 4.* where the student has'):
        frozen(None, data_preprocessor=preprocessing(2.0)).prepare(student)


@pytest.mark.parametrize(
    ('make', 'sentence'),
    [
        (lambda: EMATeacher(momentum=0), r'teacher.momentum is 0; it must be in \(0, 1\]'),
        (lambda: EMATeacher(interval=0), 'teacher.interval is 0; it must be at least 1'),
        (lambda: EMATeacher(mode='tensors'), "teacher.mode is 'tensors'; nearest: 'tensor'"),
        (lambda: EMATeacher(mode=None), "teacher.mode is None; valid: 'tensor', 'loss'"),
        (lambda: SnapshotTeacher(epochs=0), 'teacher.epochs is 0'),
        (lambda: EMATeacher().model, 'before training began'),
        (
            lambda: FrozenTeacher('no/such.py', None).prepare(TinyNet()),
            "teacher.config: 'no/such.py' .* does not exist",
        ),
        (
            lambda: FrozenTeacher('nopkg::x.py', None).prepare(TinyNet()),
            "needs the package 'nopkg', which is not installed",
        ),
        (lambda: FrozenTeacher({'train_cfg': {}}, None).prepare(TinyNet()), "holds no 'model'"),
    ],
)
def test_sentences(make: Any, sentence: str) -> None:
    with pytest.raises(KDPluginsError, match=sentence):
        make()


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
