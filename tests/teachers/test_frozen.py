"""A network with fixed weights: loading, initial weights, preprocessing and what it refuses."""

from __future__ import annotations

import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from torch import nn

from kd_plugins.errors import CheckpointError, ConfigError, KDPluginsError
from kd_plugins.registry import MODELS
from kd_plugins.taps import TapSet
from kd_plugins.teachers import FrozenTeacher
from tests.ranks import on_two_ranks
from tests.teachers.networks import TinyNet, same, step


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


@pytest.mark.parametrize('as_init', [True, False])
def test_a_random_teacher_reads_no_pretrained_weights(tmp_path: Path, as_init: bool) -> None:
    model: dict[str, Any] = {'type': 'kd_plugins.HGNetV2', 'arch': 'B0', 'out_indices': (0,)}
    pretrained = MODELS.build(model)
    torch.save({'state_dict': pretrained.state_dict()}, tmp_path / 'a.pth')
    file = str(tmp_path / 'a.pth')
    source = {'init_cfg': [{'type': 'Pretrained', 'checkpoint': file}]} if as_init else {'weights': file}
    teacher = FrozenTeacher({'model': {**model, **source}}, None)
    teacher.prepare(TinyNet())
    assert not torch.equal(teacher.model.stem.stem1.conv.weight, pretrained.stem.stem1.conv.weight)


def test_checkpoint_sentences(tmp_path: Path) -> None:
    good = tmp_path / 'epoch_1.pth'
    torch.save({'state_dict': TinyNet().state_dict()}, good)
    (tmp_path / 'cut.pth').write_bytes(good.read_bytes()[:700])
    torch.save({'state_dict': nn.Conv2d(1, 1, 1).state_dict()}, tmp_path / 'foreign.pth')
    torch.save({'state_dict': {**TinyNet().state_dict(), 'old.bias': torch.zeros(1)}}, tmp_path / 'extra.pth')
    torch.save([1], tmp_path / 'list.pth')
    cases = [
        ('epoch_2.pth', {}, "teacher.checkpoint: '.*epoch_2.pth' does not exist; nearest: '.*epoch_1.pth'"),
        ('cut.pth', {}, 'is truncated or not a PyTorch checkpoint'),
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


@pytest.mark.parametrize(
    ('config', 'sentence'),
    [
        (
            {'model': {'type': 'kd_plugins.TinyNett'}},
            r"teacher.config: its model cannot be built: type='kd_plugins.TinyNett' is not in the registry 'model' .*; "
            r"nearest: 'kd_plugins.TinyNet'",
        ),
        (
            {'model': {'type': 'kd_plugins.TinyNet', 'wdth': 4}},
            r"cannot be built: TinyNet: got an unexpected keyword argument 'wdth'; nearest: 'width'",
        ),
        ({'model': 3}, r'teacher.config: its model cannot be built: TypeError: cfg should be a dict'),
        (
            {'model': {'type': 'kd_plugins.HGNetV2', 'arch': 'B9'}},
            r"^teacher.config: its model cannot be built: backbone.arch is 'B9'; nearest: 'B6'",
        ),
    ],
    ids=['type', 'argument', 'dict', 'part'],
)
def test_a_model_that_cannot_be_built(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        FrozenTeacher(config, None).prepare(TinyNet())


def fetched(url: str, home: str) -> int:
    """Return the number of weights that a rank loads from a URL."""
    os.environ['TORCH_HOME'] = home
    teacher = FrozenTeacher({'model': {'type': 'kd_plugins.TinyNet'}}, url)
    teacher.prepare(TinyNet())
    assert teacher.report is not None
    return len(teacher.report.loaded)


def test_one_rank_of_a_machine_downloads(tmp_path: Path) -> None:
    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            super().do_GET()

        def log_message(self, *args: Any) -> None:
            pass

    requests: list[str] = []
    for folder in ('served', 'home', 'ranks'):
        (tmp_path / folder).mkdir()
    torch.save({'state_dict': TinyNet().state_dict()}, tmp_path / 'served' / 'x.pth')
    with ThreadingHTTPServer(('127.0.0.1', 0), partial(Handler, directory=str(tmp_path / 'served'))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f'http://127.0.0.1:{server.server_port}/x.pth'
        assert on_two_ranks(tmp_path / 'ranks', fetched, url, str(tmp_path / 'home')) == [7, 7]
        server.shutdown()
    assert requests == ['/x.pth']


def test_other_preprocessing_is_refused(tmp_path: Path) -> None:
    def preprocessing(mean: float) -> dict[str, Any]:
        return {'type': 'ImgDataPreprocessor', 'mean': [mean] * 3, 'std': [1.0] * 3}

    student = TinyNet(data_preprocessor=preprocessing(1.0))
    frozen(None, data_preprocessor=preprocessing(1.0)).prepare(student)
    with pytest.raises(ConfigError, match=r'data_preprocessor.mean is \[2.0, 2.0, 2.0\] where the student has \[1.0'):
        frozen(None, data_preprocessor=preprocessing(2.0)).prepare(student)


@pytest.mark.parametrize('kind', ['ImgDataPreprocessor', 'mmseg.SegDataPreProcessor'])
def test_another_order_of_the_channels_is_refused(kind: str) -> None:
    pytest.importorskip('mmseg.models' if kind.startswith('mmseg') else 'mmengine')

    def preprocessing(swap: bool) -> dict[str, Any]:
        return {'type': kind, 'mean': [1.0] * 3, 'std': [1.0] * 3, 'bgr_to_rgb': swap}

    student = TinyNet(data_preprocessor=preprocessing(True))
    frozen(None, data_preprocessor=preprocessing(True)).prepare(student)
    with pytest.raises(ConfigError, match=r'data_preprocessor.bgr_to_rgb is False where the student has True'):
        frozen(None, data_preprocessor=preprocessing(False)).prepare(student)


@pytest.mark.parametrize('wrapped', ['student', 'teacher', 'both'])
def test_the_preprocessing_of_several_branches_is_compared(wrapped: str) -> None:
    pytest.importorskip('mmdet.models')

    def preprocessing(network: str, mean: float) -> dict[str, Any]:
        inner = {'type': 'mmdet.DetDataPreprocessor', 'mean': [mean] * 3, 'std': [1.0] * 3}
        several = {'type': 'mmdet.MultiBranchDataPreprocessor', 'data_preprocessor': inner}
        return several if wrapped in (network, 'both') else inner

    student = TinyNet(data_preprocessor=preprocessing('student', 1.0))
    frozen(None, data_preprocessor=preprocessing('teacher', 1.0)).prepare(student)
    with pytest.raises(ConfigError, match=r'data_preprocessor.mean is \[2.0, 2.0, 2.0\] where the student has \[1.0'):
        frozen(None, data_preprocessor=preprocessing('teacher', 2.0)).prepare(student)


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


def test_no_rule_changes_it() -> None:
    teacher, student = frozen(None), TinyNet()
    teacher.prepare(student)
    before = TinyNet()
    before.load_state_dict(teacher.model.state_dict())
    step(student)
    teacher.after_step(student, 0)
    teacher.after_epoch(student, 0)
    assert same(teacher.model, before) and teacher.state_dict() == {'folded': None} and teacher.ready


def test_options_change_its_config() -> None:
    config = {'model': {'type': 'kd_plugins.TinyNet'}}
    teacher = FrozenTeacher(config, None, cfg_options={'model.width': 5})
    teacher.prepare(TinyNet())
    assert teacher.model.fc.out_features == 5 and config == {'model': {'type': 'kd_plugins.TinyNet'}}


@pytest.mark.parametrize(
    ('config', 'sentence'),
    [
        ('no/such.py', "teacher.config: 'no/such.py' .* does not exist"),
        ('nopkg::x.py', "needs the package 'nopkg', which is not installed"),
        ({'train_cfg': {}}, "holds no 'model'"),
    ],
)
def test_configs_without_a_model(config: Any, sentence: str) -> None:
    with pytest.raises(KDPluginsError, match=sentence):
        FrozenTeacher(config, None).prepare(TinyNet())


FOLDED = {'pairs': [['conv', 'norm']], 'channels_last': True}


def folding_config() -> dict[str, Any]:
    return {'model': {'type': 'kd_plugins.ConvNet'}}


@MODELS.register_module(force=True)
class ConvNet(BaseModel):
    """A convolution with BatchNorm, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.head = nn.Conv2d(2, 1, 1)

    def forward(self, inputs: torch.Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        return self.head(self.norm(self.conv(inputs)))


def outputs(teacher: FrozenTeacher, path: str = 'head') -> list[torch.Tensor]:
    taps = TapSet(teacher.model, {'distillers.a.x': path})
    teacher.run((torch.ones(1, 1, 5, 5),), {}, taps)
    return taps.recorded()


def test_layers_are_folded_in_the_first_pass_and_after_a_resume() -> None:
    teacher, plain, resumed = (FrozenTeacher(folding_config(), None, fold=fold) for fold in (True, False, True))
    for each in (teacher, plain, resumed):
        each.prepare(ConvNet())
        each.model.norm.running_mean.fill_(0.5)
    (folded,), (expected,) = outputs(teacher), outputs(plain)
    torch.testing.assert_close(folded, expected)
    assert isinstance(teacher.model.norm, nn.Identity) and isinstance(plain.model.norm, nn.BatchNorm2d)
    assert teacher.num_keys == plain.num_keys == len(plain.model.state_dict()) > len(teacher.model.state_dict())
    assert teacher.state_dict() == {'folded': FOLDED} and plain.state_dict() == {'folded': None}
    resumed.load_state_dict(teacher.state_dict())
    assert torch.equal(outputs(resumed)[0], folded) and resumed.state_dict() == teacher.state_dict()
    older = FrozenTeacher(folding_config(), None)
    older.prepare(ConvNet())
    older.load_state_dict({})
    outputs(older)
    assert older.state_dict() == teacher.state_dict()


def test_a_flag_switches_folding_off() -> None:
    with pytest.raises(ConfigError, match=r"teacher.fold is 'no'; valid: True, False"):
        FrozenTeacher(folding_config(), None, fold='no')  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        ({'cfg_options': {1: None}}, r'^teacher\.cfg_options: 1=None does not fit the config: '),
        ({'cfg_options': {'model.type.x': 3}}, r'^teacher\.cfg_options: model\.type\.x=3 does not fit the config: '),
        ({'seed': 10**30}, r'^teacher\.seed is 10+; valid: an integer, such as 0$'),
        ({'seed': -1}, r'^teacher\.seed is -1; '),
    ],
)
def test_options_and_seeds_that_do_not_fit(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        FrozenTeacher({'model': {'type': 'TinyStudent'}}, None, **settings).prepare(nn.Linear(1, 1))
