"""``kd_plugins test``: options of OpenMMLab's own tool, and an evaluation of a small model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from torch import Tensor, nn
from torch.utils.data import Dataset

from kd_plugins.commands import test as command
from kd_plugins.errors import ConfigError


@MODELS.register_module(force=True)
class TestedNet(BaseModel):
    __test__ = False

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1, bias=False)

    def forward(self, inputs: Tensor, mode: str = 'tensor') -> list[Tensor]:
        return list(self.layer(inputs))


@DATASETS.register_module(force=True)
class TestedData(Dataset):
    __test__ = False
    metainfo: dict[str, Any] = {}

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {'inputs': torch.tensor([float(index)])}


@METRICS.register_module(force=True)
class TestedSum(BaseMetric):
    __test__ = False

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [float(sample) for sample in data_samples]

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        return {'sum': sum(results)}


CONFIG = """
default_scope = 'mmengine'
model = dict(type='TestedNet')
test_dataloader = dict(batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
                       collate_fn=dict(type='default_collate'), dataset=dict(type='TestedData'))
test_cfg = dict()
test_evaluator = dict(type='TestedSum')
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / 'tested.py'
    path.write_text(CONFIG)
    return path


def saved(folder: Path, **weights: Tensor) -> Path:
    torch.save({'state_dict': weights, 'meta': {}}, folder / 'epoch_1.pth')
    return folder / 'epoch_1.pth'


def test_an_evaluation(run: Any, config: Path, tmp_path: Path) -> None:
    checkpoint = saved(tmp_path, **{'layer.weight': torch.tensor([[3.0]]), 'old.bias': torch.zeros(1)})
    outcome = run(command, config, checkpoint, '--work-dir', tmp_path / 'out')
    assert outcome.status == 0, outcome.err
    (scores,) = (tmp_path / 'out').glob('*/*.json')
    assert '"sum": 3.0' in scores.read_text()
    assert "1 weights that the model does not use (first: 'old.bias')" in outcome.err + outcome.out


def test_a_checkpoint_of_another_model_is_refused(run: Any, config: Path, tmp_path: Path) -> None:
    checkpoint = saved(tmp_path, **{'head.weight': torch.zeros(1)})
    outcome = run(command, config, checkpoint, '--work-dir', tmp_path / 'out')
    assert outcome.status == 2 and "(first: 'layer.weight')" in outcome.error


def test_a_test_set_of_other_classes_is_refused(run: Any, config: Path, tmp_path: Path) -> None:
    """As where a config inherits the test set of its base."""
    (tmp_path / 'a.json').write_text('{}')
    config.write_text(
        f"""
default_scope = 'mmdet'
model = dict(type='GFL', bbox_head=dict(type='GFLHead', num_classes=2))
test_dataloader = dict(dataset=dict(type='CocoDataset', ann_file='{tmp_path}/a.json'))
test_cfg = dict(type='TestLoop')
test_evaluator = dict(type='CocoMetric')
"""
    )
    outcome = run(command, config, saved(tmp_path, weight=torch.zeros(1)))
    assert outcome.status == 2
    assert 'model.bbox_head.num_classes is 2, but test_dataloader.dataset has 80 classes' in outcome.error


def test_data_checks_can_be_skipped(run: Any, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise ConfigError('the data is refused')

    monkeypatch.setattr(command, 'check_data_files', refuse)
    checkpoint = saved(tmp_path, **{'layer.weight': torch.tensor([[3.0]])})
    arguments = (config, checkpoint, '--work-dir', tmp_path / 'out')
    assert run(command, *arguments).error.endswith('the data is refused')
    assert run(command, *arguments, '--skip-data-checks').status == 0


def test_a_config_without_tests(run: Any, config: Path, tmp_path: Path) -> None:
    config.write_text(CONFIG.replace('test_evaluator', 'val_evaluator'))
    assert "has no 'test_evaluator', so it cannot be tested" in run(command, config, 'x.pth').error


@pytest.mark.parametrize(
    ('scope', 'expected'),
    [
        ('mmdet', {'draw': True, 'show': True, 'wait_time': 0.5, 'test_out_dir': 'painted'}),
        ('mmpose', {'enable': True, 'show': True, 'wait_time': 0.5, 'out_dir': 'painted'}),
        ('mmseg', {'draw': True, 'show': True, 'wait_time': 0.5, 'interval': 1}),
    ],
)
def test_each_package_has_its_own_words_for_shown_predictions(scope: str, expected: dict[str, Any]) -> None:
    hook = dict(type='Hook')
    config = Config(dict(default_scope=scope, default_hooks=dict(visualization=hook), work_dir='work'))
    config.visualizer = dict(type='V')
    args = ['x.py', 'x.pth', '--show', '--show-dir', 'painted', '--wait-time', '0.5']
    command.show_predictions(config, command.parser().parse_args(args))
    assert config.default_hooks.visualization == {**hook, **expected}
    assert config.visualizer == (dict(type='V', save_dir='work/painted') if scope == 'mmseg' else dict(type='V'))


def test_showing_needs_a_hook() -> None:
    with pytest.raises(ConfigError, match="--show: default_hooks has no 'visualization'"):
        command.show_predictions(Config(dict(default_hooks=dict())), command.parser().parse_args(['x.py', 'x.pth']))


@pytest.mark.parametrize('evaluator', [dict(type='A'), [dict(type='A')]])
def test_predictions_are_dumped_beside_the_metrics(evaluator: Any) -> None:
    config = Config(dict(default_scope='mmseg', test_evaluator=evaluator))
    command.dump_predictions(config, 'out.pkl')
    assert [entry['type'] for entry in config.test_evaluator] == ['A', 'mmengine.DumpResults']
    assert config.test_evaluator[1]['out_file_path'] == 'out.pkl'
    with pytest.raises(ConfigError, match="--out: 'out.json' .*; nearest: 'out.pkl'"):
        command.dump_predictions(config, 'out.json')


@pytest.mark.parametrize('whole', [False, True])
@pytest.mark.parametrize(
    'types', [['CocoMetric'], ['VOCMetric', 'mmdet.CocoMetric'], ['kd_plugins.ClassGroupCocoMetric'], ['LVISMetric']]
)
def test_calibration_reads_the_file_of_the_coco_metric(types: list[str], whole: bool) -> None:
    pytest.importorskip('mmdet')
    metrics: Any = [dict(type='CocoMetric', metric='proposal'), *(dict(type=name, ann_file='a.json') for name in types)]
    evaluator = dict(metrics=metrics) if whole else metrics
    config = Config(dict(default_scope='mmdet', work_dir='work', test_evaluator=evaluator))
    command.measure_calibration(config)
    added = command.evaluators_of(config)[-1]
    assert added == dict(type='kd_plugins.DetectionCalibration', ann_file='a.json', out_dir='work')


def test_calibration_leaves_files_of_other_formats() -> None:
    pytest.importorskip('mmdet')
    crowd = dict(type='CrowdHumanMetric', ann_file='annotation_val.odgt')
    config = Config(dict(default_scope='mmdet', work_dir='work', test_evaluator=crowd))
    command.measure_calibration(config)
    assert config.test_evaluator[1].ann_file is None  # objects of the data samples


def test_calibration_of_the_config_is_measured_once() -> None:
    """MMEngine refuses two metrics of one name at the end of the test."""
    own = dict(type='kd_plugins.PixelCalibration', bins=5)
    config = Config(dict(default_scope='mmseg', work_dir='work', test_evaluator=[dict(type='IoUMetric'), own]))
    command.measure_calibration(config)
    assert config.test_evaluator == [dict(type='IoUMetric'), dict(own, out_dir='work')]
    other = dict(own, prefix='mine')
    config = Config(dict(default_scope='mmseg', work_dir='work', test_evaluator=other))
    command.measure_calibration(config)
    assert [one.get('bins') for one in config.test_evaluator] == [5, None]


def test_calibration_with_several_files_is_refused() -> None:
    pytest.importorskip('mmdet')
    metrics = [dict(type='CocoMetric', ann_file=name) for name in ('a.json', 'b.json')]
    config = Config(dict(default_scope='mmdet', work_dir='work', test_evaluator=metrics))
    with pytest.raises(ConfigError, match=r"^--calibration: .* read 2 files, 'a.json' and 'b.json'; .* ann_file=...\)"):
        command.measure_calibration(config)
    config.test_evaluator = dict(type='MultiDatasetsEvaluator', metrics=metrics, dataset_prefixes=['a', 'b'])
    with pytest.raises(ConfigError, match=r"^--calibration: test_evaluator.type is 'MultiDatasetsEvaluator', to which"):
        command.measure_calibration(config)


WHOLE = """
_base_ = './tested.py'
test_evaluator = dict(_delete_=True, metrics=METRICS)
"""


@pytest.mark.parametrize('name, metrics', [('one', "dict(type='TestedSum')"), ('several', "[dict(type='TestedSum')]")])
def test_metrics_of_a_whole_evaluator(run: Any, config: Path, tmp_path: Path, name: str, metrics: str) -> None:
    """MMEngine takes the evaluator itself as well: ``dict(metrics=...)``."""
    whole = tmp_path / f'{name}.py'  # runs of one name in one second share a logger, and so the output of the first
    whole.write_text(WHOLE.replace('METRICS', metrics))
    checkpoint = saved(tmp_path, **{'layer.weight': torch.tensor([[3.0]])})
    out = tmp_path / 'predictions.pkl'
    flexible = ['--cfg-options', 'runner_type=FlexibleRunner', 'strategy.type=SingleDeviceStrategy']
    outcome = run(command, whole, checkpoint, '--out', out, '--work-dir', tmp_path / 'work', *flexible)
    assert outcome.status == 0, outcome.err
    assert out.is_file() and 'sum: 3.0' in ' '.join(outcome.out.split())


def test_an_evaluator_of_another_class_takes_no_metric() -> None:
    config = Config({'test_evaluator': {'type': 'MultiDatasetEvaluator', 'metrics': [], 'datasets': []}})
    with pytest.raises(ConfigError, match="^--out: test_evaluator.type is 'MultiDatasetEvaluator', .*'Evaluator'$"):
        command.dump_predictions(config, 'x.pkl')
