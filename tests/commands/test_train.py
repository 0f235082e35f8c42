"""What ``kd_plugins train`` and ``kd_plugins test`` print and write; only two tests start a real training."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

from kd_plugins.checkpoints import load_checkpoint
from kd_plugins.commands import test, train
from kd_plugins.comparison.plan import Arm, plan_runs
from kd_plugins.runner.processes import subcommand
from kd_plugins.utils.device import has_accelerator
from tests import warm_commands
from tools.benchmark import kill_kinds, kill_parts

pytest.importorskip('mmdet')
ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / 'configs' / 'gfl' / 'gfl_r18_bccd.py')


@pytest.fixture
def fail(run):
    def call(*arguments):
        outcome = run(*arguments)
        assert outcome.status == 2
        return outcome.error

    return call


def test_a_config_that_does_not_exist(fail):
    said = fail(train, CONFIG.replace('r18', 'r19'))
    assert 'does not exist' in said and "gfl_r18_bccd.py'" in said


def test_a_data_root_that_does_not_exist_names_key_and_variable(fail):
    said = fail(train, CONFIG, '--cfg-options', 'train_dataloader.dataset.data_root=nowhere')
    assert "train_dataloader.dataset.data_root: 'nowhere' does not exist" in said and 'BCCD_ROOT' in said


@pytest.mark.skipif(has_accelerator(), reason='there is an accelerator')
def test_mixed_precision_without_an_accelerator(fail):
    assert '--amp needs an accelerator' in fail(train, CONFIG, '--amp')


def test_scaling_the_learning_rate_needs_a_base(tmp_path, fail):
    path = tmp_path / 'x.py'
    path.write_text("default_scope = 'mmengine'\noptim_wrapper = dict(optimizer=dict(type='SGD', lr=1))\n")
    assert 'auto_scale_lr.base_batch_size' in fail(train, str(path), '--auto-scale-lr')


def test_a_config_that_does_not_train(tmp_path, fail):
    path = tmp_path / 'x.py'
    path.write_text("default_scope = 'mmengine'\n")
    assert "has no 'model'" in fail(train, str(path))
    assert "has no 'model'" in fail(test, str(path), 'x.pth')


def test_a_model_that_needs_a_gpu_where_there_is_none(tmp_path, fail):
    if has_accelerator():
        pytest.skip('this machine has one')
    path = tmp_path / 'x.py'
    path.write_text(
        "model = dict(type='VoxelNet', middle_encoder=dict(type='SparseEncoder'))\n"
        'train_dataloader = dict(batch_size=1)\ntrain_cfg = dict(max_epochs=1)\noptim_wrapper = dict(lr=1)\n'
    )
    said = fail(train, str(path))
    assert 'model.middle_encoder is SparseEncoder, whose sparse convolution needs a GPU, and there is none' in said


def test_a_truncated_checkpoint_is_refused_before_data_is_read(tmp_path, fail):
    path = tmp_path / 'epoch_1.pth'
    torch.save({'state_dict': {'a': torch.zeros(1000)}}, path)
    path.write_bytes(path.read_bytes()[:500])
    assert 'truncated' in fail(test, CONFIG, str(path), '--cfg-options', 'test_dataloader.x=1')


def test_work_dir_and_amp_have_openmmlabs_meaning(monkeypatch):
    monkeypatch.setattr(train, 'has_accelerator', lambda: True)
    args = train.parser().parse_args([CONFIG, '--amp', '--cfg-options', 'randomness.seed=7'])
    config = train.resolve(args)
    assert config.work_dir == str(Path('work_dirs') / 'gfl_r18_bccd')
    assert (config.optim_wrapper.type, config.optim_wrapper.loss_scale) == ('AmpOptimWrapper', 'dynamic')
    assert config.randomness.seed == 7
    assert train.resolve(train.parser().parse_args([CONFIG, '--work-dir', 'x'])).work_dir == 'x'


def test_resume_takes_no_path_or_one():
    parser = train.parser()
    assert parser.parse_args([CONFIG]).resume is None
    assert parser.parse_args([CONFIG, '--resume']).resume == 'auto'
    assert parser.parse_args([CONFIG, '--resume', 'x.pth']).resume == 'x.pth'


def test_predictions_are_dumped_beside_the_metrics():
    config = train.resolve(train.parser().parse_args([CONFIG]))
    test.dump_predictions(config, 'out.pkl')
    assert [entry['type'] for entry in config.test_evaluator] == ['CocoMetric', 'mmdet.DumpDetResults']


def test_showing_predictions_switches_the_hook_on():
    config = train.resolve(train.parser().parse_args([CONFIG]))
    test.show_predictions(config, test.parser().parse_args([CONFIG, 'x.pth', '--show-dir', 'painted']))
    assert config.default_hooks.visualization.draw
    assert config.default_hooks.visualization.test_out_dir == 'painted'


def test_checkpoints_that_a_new_run_replaces_are_named(tmp_path):
    config = train.resolve(train.parser().parse_args([CONFIG, '--work-dir', str(tmp_path)]))
    assert train.replaced_files(config) == []
    for number in (2, 10):
        (tmp_path / f'epoch_{number}.pth').touch()
    (sentence,) = train.replaced_files(config)
    assert sentence.startswith(f"'{tmp_path}' holds checkpoints of an earlier run, up to epoch_10.pth, which this run")


TINY = """
default_scope = 'mmengine'
model = dict(type='ToyModel')
train_dataloader = dict(batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
                        dataset=dict(type='ToyData'))
train_cfg = dict(by_epoch=True, max_epochs={epochs})
randomness = dict(seed=3)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=1e-4))
custom_imports = dict(imports=['toy'], allow_failed_imports=False)
default_hooks = dict(distill=dict(type='kd_plugins.DistillHook', distillers=dict(f=dict(
    type='kd_plugins.FeatureDistiller', student_tap='a', teacher_tap='{teacher}', source='student'))))
"""
TOY = """
import torch
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS

@DATASETS.register_module()
class ToyData(torch.utils.data.Dataset):
    metainfo = {}
    def __len__(self):
        return 8
    def __getitem__(self, index):
        return dict(inputs=torch.full((3, 8, 8), index / 8), data_samples=None)

@MODELS.register_module()
class ToyModel(BaseModel):
    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(4, 4, 1)
    def forward(self, inputs, data_samples=None, mode='tensor'):
        out = self.b(self.a(torch.stack(list(inputs))))
        return dict(loss=out.square().mean()) if mode == 'loss' else out
"""


def write_toy(tmp_path, epochs=1, teacher='b'):
    (tmp_path / 'toy.py').write_text(TOY)
    (tmp_path / 'tiny.py').write_text(TINY.format(epochs=epochs, teacher=teacher))
    return [str(tmp_path / 'tiny.py'), '--work-dir', str(tmp_path / 'run')]


def start(tmp_path):
    """Train in a new interpreter, with relative paths."""
    write_toy(tmp_path)
    environment = {**os.environ, 'PYTHONPATH': str(tmp_path), 'OMP_NUM_THREADS': '1'}
    environment.pop('KD_DEBUG', None)
    command = [*subcommand('train'), 'tiny.py', '--work-dir', 'run']
    return subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def start_warm(tmp_path, *options, **settings):
    """Train in a process that has imported everything; return its status and its output."""
    log = tmp_path / 'warm.log'
    words = ['train', *write_toy(tmp_path, **settings), *options]
    return warm_commands.call(words, log, PYTHONPATH=str(tmp_path), KD_DEBUG=''), log.read_text()


@pytest.mark.slow
def test_train_from_the_command_line_then_resume(tmp_path):
    first = start(tmp_path)
    assert first.returncode == 0, first.stderr
    record = json.loads(next((tmp_path / 'run').glob('*/run.json')).read_text())
    assert isinstance(record['seed'], int) and record['versions']['torch']
    assert (tmp_path / 'run' / 'tiny.py').is_file()
    (tmp_path / 'run' / 'epoch_2.pth').write_bytes(b'killed while writing')
    status, output = start_warm(tmp_path, '--resume', epochs=2)
    assert status == 0, output
    assert 'resumed epoch: 1' in output
    torch.load(tmp_path / 'run' / 'epoch_2.pth')


@pytest.mark.slow
def test_a_wrong_path_is_one_sentence_without_a_traceback(tmp_path):
    status, output = start_warm(tmp_path, teacher='bb')
    assert status == 2
    assert 'Traceback' not in output
    last = output.strip().splitlines()[-1]
    assert last.startswith('error: distillers.f') and "'bb' names no module" in last and "nearest: 'b'" in last


def test_a_run_killed_in_its_last_validation_resumes_with_it(run, tmp_path, monkeypatch):
    """Otherwise no rerun would ever log the last metrics, and a comparison would wait for them for ever."""
    path = kill_kinds.write(tmp_path, 'plain', kill_kinds.training(None, epochs=2, pause=0.0))
    compute, calls = kill_parts.QuarterMetric.compute_metrics, []

    def cut_off(self, results):
        calls.append(len(results))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return compute(self, results)

    monkeypatch.setattr(kill_parts.QuarterMetric, 'compute_metrics', cut_off)
    folder = tmp_path / 'arm' / 'seed_0'
    assert run(train, path, '--work-dir', folder).status == 130
    arms = [Arm('arm', str(path), 2)]
    assert (folder / 'epoch_2.pth').is_file() and plan_runs(arms, [0], tmp_path)[0].state == 'resume'
    assert run(train, path, '--work-dir', folder, '--resume').status == 0
    assert plan_runs(arms, [0], tmp_path)[0].state == 'finished'
    last = load_checkpoint(folder / 'epoch_2.pth')['message_hub']['runtime_info']
    assert Path(last['best_ckpt']).is_file()
    assert run(train, path, '--work-dir', folder, '--resume').status == 0 and len(calls) == 3, 'nothing is missing now'
