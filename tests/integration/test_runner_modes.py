"""Modes of MMEngine's runners: a hook with weight 0 changes nothing, and a term of each mode reaches the student."""

from __future__ import annotations

from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
import torch
from mmengine.dataset import BaseDataset, ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.hooks import EMAHook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.runner import FlexibleRunner
from torch import Tensor, nn

from kd_plugins.errors import ConfigError
from kd_plugins.hooks import DistillHook
from kd_plugins.registry import MODELS
from tests.hooks.tiny_runs import (
    ADAPTED,
    EMA,
    GAP,
    ITERATIONS,
    CpuAmpOptimWrapper,
    Recorder,
    TinyStudent,
    loader_of,
    make_runner,
)
from tests.integration import runs
from tests.ranks import on_two_ranks
from tests.torch_features import COMPILED_STEP, CPU_SCALER

TEACHERS = {'self': None, 'ema': EMA}
"""A deeper layer of the student, with an adapter; an average of the student, without."""


Losses = list[dict[str, float]]


def train(work_dir: Path, hook: DistillHook | None, **settings: Any) -> tuple[Losses, dict[str, Tensor]]:
    """Train for four iterations; return their losses and the final weights."""
    recorder = Recorder()
    hooks = [*settings.pop('hooks', []), *([hook] if hook else []), recorder]
    # What the run changes is built for each run.
    built = {name: value() if isinstance(value, FunctionType) else value for name, value in settings.items()}
    runner = make_runner(work_dir, hooks, **{'epochs': 1, 'default_hooks': dict(checkpoint=None), **built})
    runner.train()
    model = getattr(runner.model, 'module', runner.model)
    return recorder.losses, {name: value.clone() for name, value in model.state_dict().items()}


def check_mode(tmp_path: Path, **settings: Any) -> None:
    """Compare a plain run with runs with the hook, with the weight 0 and with a weight that teaches."""
    plain, expected = train(tmp_path / 'plain', None, **settings)
    assert len(plain) == 4
    for name, teacher in TEACHERS.items():
        gap = ADAPTED if teacher is None else GAP
        off = DistillHook({'gap': {**gap, 'weight': 0.0}}, teacher)
        losses, weights = train(tmp_path / f'{name}_off', off, **settings)
        assert [{k: v for k, v in step.items() if not k.startswith('distill.')} for step in losses] == plain
        assert all(torch.equal(weights[key], value) for key, value in expected.items())
        on = DistillHook({'gap': {**gap, 'weight': 1.0}}, teacher)
        losses, weights = train(tmp_path / f'{name}_on', on, **settings)
        assert losses[-1]['distill.gap.loss_gap'] > 0
        assert any(not torch.equal(weights[key], value) for key, value in expected.items()), 'the student is taught'


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(force=True)
class LayerDecay:
    """One group for each layer, with a rate that falls with the depth, as constructors of MMDetection make."""

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: Any = None) -> None:
        self.config = optim_wrapper_cfg

    def __call__(self, model: nn.Module) -> OptimWrapper:
        rates = {'first': 0.0, 'second': 0.05}
        groups = [{'params': list(getattr(model, name).parameters()), 'lr': rate} for name, rate in rates.items()]
        return OptimWrapper(torch.optim.SGD(groups, lr=0.1, momentum=0.9))


class TwoOptimizers(TinyStudent):
    """A model whose training step drives two optimizers, as generative models have."""

    def train_step(self, data: Any, optim_wrapper: Any) -> Any:
        data = self.data_preprocessor(data, True)
        loss, log = self.parse_losses(self._run_forward(data, mode='loss'))
        optim_wrapper['first'].zero_grad()
        optim_wrapper['second'].zero_grad()
        loss.backward()
        optim_wrapper['first'].step()
        optim_wrapper['second'].step()
        return log


def two_optimizers() -> dict[str, Any]:
    model = TwoOptimizers()
    layers = {'first': model.first, 'second': model.second}
    wrappers = {name: OptimWrapper(torch.optim.SGD(layer.parameters(), lr=0.1)) for name, layer in layers.items()}
    return {'model': model, 'optim_wrapper': OptimWrapperDict(**wrappers), 'param_scheduler': None}


SGD = dict(type='SGD', lr=0.1, momentum=0.9)
MODES: dict[str, dict[str, Any]] = {
    'epochs': {},
    'iterations': ITERATIONS,
    'accumulation': {'optim_wrapper': lambda: dict(optimizer=SGD, accumulative_counts=2)},
    'clipping': {'optim_wrapper': lambda: dict(optimizer=SGD, clip_grad=dict(max_norm=0.1))},
    'activation-checkpointing': {
        'cfg': dict(activation_checkpointing=['first'], model=dict(type='kd_plugins.TinyStudent')),
    },
    'mixed-precision': {'optim_wrapper': lambda: dict(type='CpuAmpOptimWrapper', optimizer=SGD)},
    'layer-decay': {'optim_wrapper': lambda: dict(constructor='LayerDecay', optimizer=SGD)},
}


@pytest.mark.parametrize(
    'mode', [pytest.param(mode, marks=CPU_SCALER) if mode == 'mixed-precision' else mode for mode in MODES]
)
def test_mode(tmp_path: Path, mode: str) -> None:
    settings = dict(MODES[mode])
    if mode == 'iterations':
        settings['train_cfg'] = dict(type='IterBasedTrainLoop', max_iters=4)
    check_mode(tmp_path, **settings)


def test_an_average_of_mmengine(tmp_path: Path) -> None:
    check_mode(tmp_path, hooks=[EMAHook(momentum=0.1)])


@COMPILED_STEP
@pytest.mark.parametrize('backend', ['eager'])
def test_compile(tmp_path: Path, backend: str) -> None:
    """The hooks of the student interrupt the graph; the compiler leaves them as they are."""
    check_mode(tmp_path, cfg=dict(compile=dict(backend=backend)))


@MODELS.register_module(force=True)
class ConvStudent(BaseModel):
    """A convolution with BatchNorm, and a second layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 1)
        self.norm = nn.BatchNorm1d(4)
        self.second = nn.Conv1d(4, 3, 1)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        outputs = self.second(self.norm(self.conv(inputs[:, None])).relu())
        return {'loss_task': outputs.square().mean()} if mode == 'loss' else outputs


@pytest.mark.slow
@COMPILED_STEP
def test_compile_with_a_folded_teacher(tmp_path: Path) -> None:
    """The teacher is built from its config, so it is not compiled, and the compiled student is left alone."""
    teacher = dict(
        type='kd_plugins.FrozenTeacher', config=dict(model=dict(type='kd_plugins.ConvStudent')), checkpoint=None
    )
    losses = {}
    for name, compiled in (('plain', {}), ('compiled', {'compile': dict(backend='eager')})):
        hook = DistillHook({'gap': GAP}, teacher)
        torch.manual_seed(0)
        losses[name], _ = train(tmp_path / name, hook, model=lambda: ConvStudent(), cfg=compiled)
        assert hook.teachers['teacher'].state_dict()['folded']['pairs'] == [['conv', 'norm']]
    assert [step.keys() for step in losses['compiled']] == [step.keys() for step in losses['plain']]
    for mine, expected in zip(losses['compiled'], losses['plain']):
        assert mine == pytest.approx(expected, rel=1e-5)
    assert losses['plain'][-1]['distill.gap.loss_gap'] > 0


def test_several_optimizers(tmp_path: Path) -> None:
    finals = {}
    for name, weight in (('plain', None), ('off', 0.0), ('on', 1.0)):
        hook = None if weight is None else DistillHook({'gap': {**ADAPTED, 'weight': weight}}, None)
        torch.manual_seed(0)
        losses, finals[name] = train(tmp_path / name, hook, **two_optimizers())
        assert len(losses) == 4
    assert all(torch.equal(finals['off'][key], value) for key, value in finals['plain'].items())
    assert any(not torch.equal(finals['on'][key], value) for key, value in finals['plain'].items())


def test_flexible_runner(tmp_path: Path) -> None:
    def losses_with(name: str, hook: DistillHook | None, resume: bool = False, epochs: int = 2) -> Losses:
        torch.manual_seed(0)
        recorder = Recorder()
        tiny = make_runner(tmp_path / f'{name}_settings', [])
        runner = FlexibleRunner(
            model=TinyStudent(),
            work_dir=str(tmp_path / name),
            strategy=dict(type='SingleDeviceStrategy'),
            train_dataloader=dict(tiny._train_dataloader, dataset=tiny._train_dataloader['dataset']),
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            optim_wrapper=dict(optimizer=SGD),
            param_scheduler=[dict(type='LinearLR', start_factor=0.5, by_epoch=False, begin=0, end=3)],
            custom_hooks=[dict(type='EpochSeedHook', _scope_='kd_plugins'), *([hook] if hook else []), recorder],
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
            randomness=dict(seed=3),
            experiment_name=f'{tmp_path.name}_{name}_{resume}',
            log_level='ERROR',
            resume=resume,
        )
        runner.train()
        return recorder.losses

    plain = losses_with('plain', None)
    off = losses_with('off', DistillHook({'gap': {**ADAPTED, 'weight': 0.0}}, EMA))
    assert [{key: value for key, value in step.items() if not key.startswith('distill.')} for step in off] == plain
    on = losses_with('on', DistillHook({'gap': ADAPTED}, EMA))
    assert on[-1]['loss_task'] != plain[-1]['loss_task']
    losses_with('cut', DistillHook({'gap': ADAPTED}, EMA), epochs=1)
    resumed = losses_with('cut', DistillHook({'gap': ADAPTED}, EMA), resume=True)
    assert resumed == on[4:]


class Listed(BaseDataset):
    """Two numbers, with a category."""

    METAINFO = {'classes': ('left', 'right')}

    def __init__(self, seed: int = 0, length: int = 4) -> None:
        self.seed = seed
        self.length = length
        super().__init__(serialize_data=False)

    def load_data_list(self) -> list[dict[str, Any]]:
        generator = torch.Generator().manual_seed(self.seed)
        return [{'inputs': torch.randn(2, generator=generator), 'label': index % 2} for index in range(self.length)]

    def prepare_data(self, idx: int) -> Any:
        return {'inputs': self.get_data_info(idx)['inputs']}

    def get_cat_ids(self, idx: int) -> list[int]:
        return [self.get_data_info(idx)['label']]


WRAPPERS = {
    'concat': lambda: ConcatDataset([Listed(0), Listed(1)]),
    'repeat': lambda: RepeatDataset(Listed(), times=2),
    'class-balanced': lambda: ClassBalancedDataset(Listed(length=8), oversample_thr=1e-3),
}


@pytest.mark.parametrize('name', WRAPPERS)
def test_wrapped_data_sets(tmp_path: Path, name: str) -> None:
    check_mode(tmp_path, train_dataloader=lambda: loader_of(WRAPPERS[name]()))


@pytest.mark.slow
@pytest.mark.parametrize('case', ['with_cp', 'mosaic', 'members-differ'])
def test_detectors(tmp_path: Path, case: str) -> None:
    """MMDetection's activation checkpointing, its data set of mixed images, and members with other metainfo."""
    from mmdet.datasets import ConcatDataset as DetConcatDataset

    model = runs.model_config()
    settings: dict[str, Any] = {'epochs': 1, 'batch_size': 8}
    if case == 'with_cp':
        model['backbone']['with_cp'] = True
    elif case == 'mosaic':
        settings['dataset'] = mosaic()
    else:

        class Painted(runs.Squares):
            metainfo = {'classes': runs.CLASSES, 'palette': [(1, 2, 3), (4, 5, 6)]}

        members = [runs.Squares(8), Painted(8)]
        settings['dataset'] = DetConcatDataset.__new__(DetConcatDataset)
        torch.utils.data.ConcatDataset.__init__(settings['dataset'], members)
        settings['dataset']._metainfo = [member.metainfo for member in members]
        settings['dataset']._fully_initialized = True
    losses = {}
    for name, weight in (('plain', None), ('off', 0.0), ('on', 5.0)):
        recorder = runs.Recorder()
        feature = {**runs.FEATURE, 'weight': weight, 'student_tap': 'backbone.layer3', 'teacher_tap': 'backbone.layer4'}
        distillers = None if weight is None else {'localization': {**runs.LD, 'weight': weight}, 'feature': feature}
        runs.make_runner(
            tmp_path / name, distillers, runs.EMA if distillers else None, model=model, hooks=[recorder], **settings
        ).train()
        losses[name] = [{k: v for k, v in step.items() if not k.startswith('distill.')} for step in recorder.losses]
    tasks = {name: [step['loss_cls'] for step in steps] for name, steps in losses.items()}
    assert losses['off'] == losses['plain'] and tasks['on'] != tasks['plain']


def mosaic() -> Any:
    """Return MMDetection's MultiImageMixDataset with mosaic, on generated images."""
    import numpy as np
    from mmdet.datasets import MultiImageMixDataset
    from mmdet.structures.bbox import HorizontalBoxes
    from mmengine.registry import DATASETS

    @DATASETS.register_module(force=True)
    class MosaicSquares(BaseDataset):
        METAINFO = {'classes': runs.CLASSES}

        def load_data_list(self) -> list[dict[str, Any]]:
            return [{'img_id': index, 'img_path': f'{index}.png'} for index in range(16)]

        def prepare_data(self, idx: int) -> Any:
            generator = np.random.default_rng(idx)
            image = generator.integers(0, 80, (runs.SIZE, runs.SIZE, 3), dtype=np.uint8)
            image[8:40, 8:40] += 120
            return {
                **self.get_data_info(idx),
                'img': image,
                'img_shape': image.shape[:2],
                'ori_shape': image.shape[:2],
                'gt_bboxes': HorizontalBoxes(torch.tensor([[8.0, 8.0, 40.0, 40.0]])),
                'gt_bboxes_labels': np.array([idx % 2]),
                'gt_ignore_flags': np.array([False]),
            }

    pipeline = [
        dict(type='mmdet.Mosaic', img_scale=(runs.SIZE, runs.SIZE), pad_val=114.0),
        dict(type='mmdet.Resize', scale=(runs.SIZE, runs.SIZE), keep_ratio=False),
        dict(type='mmdet.PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
    ]
    return MultiImageMixDataset(MosaicSquares(serialize_data=False), pipeline)


def train_without_the_task(work_dir: Path) -> Any:
    """Train on two ranks with a weight of 0 on the task; the distiller starts later and taps the first layer alone."""
    late = {'type': 'kd_plugins.Constant', 'value': 1.0, 'begin': 1}
    hook = DistillHook({'gap': {**ADAPTED, 'tap': 'first', 'weight': late}}, EMA, task_weight=0.0)
    wrapper = dict(type='MMDistributedDataParallel', device_ids=None)
    losses, weights = train(work_dir, hook, launcher='pytorch', cfg=dict(model_wrapper_cfg=wrapper))
    return len(losses), weights


@pytest.mark.slow
@pytest.mark.distributed
def test_a_task_weight_of_0_on_two_ranks(tmp_path: Path) -> None:
    """Every parameter gets a gradient, which DistributedDataParallel waits for."""
    (first, weights), (second, others) = on_two_ranks(tmp_path, train_without_the_task, tmp_path / 'run')
    assert first == second == 2
    assert all(torch.equal(others[name], value) for name, value in weights.items())


def test_semi_supervised_detectors_are_refused(tmp_path: Path) -> None:
    class SemiBaseDetector(TinyStudent):
        pass

    with pytest.raises(ConfigError, match="model.type is 'SemiBaseDetector', a semi-supervised detector"):
        train(tmp_path / 'run', DistillHook({'gap': GAP}, EMA), model=SemiBaseDetector())


@CPU_SCALER
def test_mixed_precision_scales_once(tmp_path: Path) -> None:
    """A term that overflows in one iteration is skipped with its step, as in a plain run."""

    class Overflow(TinyStudent):
        calls = 0

        def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
            if mode == 'loss' and self.training:
                self.calls += 1
                inputs = inputs * float('inf') if self.calls == 2 else inputs
            return super().forward(inputs, data_samples, mode)

    model = Overflow()
    wrapper = CpuAmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    losses, weights = train(
        tmp_path / 'run', DistillHook({'gap': ADAPTED}, EMA), model=model, optim_wrapper=wrapper, param_scheduler=None
    )
    assert not torch.isfinite(torch.tensor(losses[1]['distill.gap.loss_gap'])) and len(losses) == 4
    assert all(value.isfinite().all() for value in weights.values())
    assert wrapper.loss_scaler.get_scale() == 2.0**9
