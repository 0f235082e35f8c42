"""Chains of real trainings of a toy model, from the command line: files, manifest, kill and resume, refusals."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest
import torch
from mmengine.config import Config

from kd_plugins.checkpoints import load_checkpoint
from kd_plugins.commands import train
from kd_plugins.commands import train_stages as tool
from kd_plugins.errors import KDPluginsError
from kd_plugins.runner.processes import exclusive, execute
from kd_plugins.stages import chain as chain_module
from kd_plugins.stages.checkpoint_selection import file_hash
from tests import warm_commands

# All tests use a chain that is trained once, and most of them train a stage again.
pytestmark = pytest.mark.slow

TOY = """
import os, signal
from pathlib import Path
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS

@DATASETS.register_module()
class StagesData(torch.utils.data.Dataset):
    metainfo = dict(classes=('one', 'two'))
    def __len__(self):
        return 8
    def __getitem__(self, index):
        return dict(inputs=torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(index)), data_samples=None)

@MODELS.register_module()
class StagesModel(BaseModel):
    def __init__(self):
        super().__init__()
        self.a, self.norm = torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)
    def forward(self, inputs, data_samples=None, mode='tensor'):
        out = self.norm(self.a(torch.stack(list(inputs))))
        if mode == 'loss':
            # Draws from the run's generator, so that a resume which does not restore it ends elsewhere.
            return dict(loss=(out - torch.rand(())).square().mean())
        return [dict(level=float(image.abs().mean())) for image in out] if mode == 'predict' else out

@METRICS.register_module()
class StagesMetric(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.extend(sample['level'] for sample in data_samples)
    def compute_metrics(self, results):
        # The second epoch is the best.
        score = (0.2, 0.9, 0.5)[MessageHub.get_current_instance().get_info('epoch')]
        return dict(score=score, level=sum(results) / len(results))

@HOOKS.register_module()
class StagesKill(Hook):
    def before_val_epoch(self, runner):
        if os.environ.get('STAGES_KILL') == f'{Path(runner.work_dir).name}:{runner.epoch}':
            os.killpg(0, signal.SIGKILL)
"""
BASE = """
default_scope = 'mmengine'
custom_imports = dict(imports=['stages_toy', 'kd_plugins'], allow_failed_imports=False)
model = dict(type='StagesModel')
train_dataloader = dict(batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
                        dataset=dict(type='StagesData'))
val_dataloader = dict(batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
                      dataset=dict(type='StagesData'))
train_cfg = dict(by_epoch=True, max_epochs=2)
val_cfg = dict(type='ValLoop')
val_evaluator = dict(type='StagesMetric', prefix='toy')
randomness = dict(seed=3)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
default_hooks = dict(epoch_seed=dict(type='kd_plugins.EpochSeedHook'), kill=dict(type='StagesKill'))
load_from = None
"""
FIRST = "_base_ = './base.py'\ncustom_hooks = [dict(type='EMAHook', momentum=0.1)]\n"
SECOND = """
_base_ = './base.py'
train_cfg = dict(max_epochs=3)
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', interval=1, save_best='toy/score', rule='greater'),
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(type='kd_plugins.FrozenTeacher', config='{{fileDirname}}/first.py', checkpoint=None),
        distillers=dict(
            f=dict(type='kd_plugins.FeatureDistiller', student_tap='a', teacher_tap='a', source='teacher'))))
"""
STAGES = """
stages = dict(
    first=dict(config='./first.py', pick='last', ema=False),
    second=dict(config='./second.py', pick='best',
                takes={'load_from': 'first', 'default_hooks.distill.teacher.checkpoint': 'first'}))
"""


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    """A folder with the configs, importable, and one chain that has been run to its end in ``done``."""
    folder = tmp_path_factory.mktemp('a chain, of stages')  # a path that --cfg-options could not carry
    for name, text in (('stages_toy', TOY), ('base', BASE), ('first', FIRST), ('second', SECOND), ('stages', STAGES)):
        (folder / f'{name}.py').write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', str(folder))
        patch.setenv('OMP_NUM_THREADS', '1')
        patch.delenv('KD_DEBUG', raising=False)
        patch.syspath_prepend(str(folder))
        patch.setattr(chain_module, 'execute', warm_commands.execute)
        assert tool.main([str(folder / 'stages.py'), '--work-dir', str(folder / 'done')]) == 0
        yield folder


@pytest.fixture
def copy(home, tmp_path):
    """What the chain has made, at another place."""
    shutil.copytree(home / 'done', tmp_path / 'copy')
    return tmp_path / 'copy'


@pytest.fixture
def chain(run, home):
    """A function that runs the chain in a folder."""

    def call(work_dir, *options, stages='stages.py'):
        return run(tool, home / stages, '--work-dir', work_dir, *options)

    return call


def refused(outcome):
    assert outcome.status == 2
    return outcome.error


def manifest(work_dir):
    return json.loads((work_dir / 'stages.json').read_text())


def no_training(monkeypatch):
    monkeypatch.setattr(chain_module, 'execute', lambda *args, **kwargs: pytest.fail('a training was started'))


def test_each_file_holds_what_the_rule_picks_and_loads_where_nothing_of_ours_is_allowed(home):
    done = home / 'done'
    last = load_checkpoint(done / 'first' / 'epoch_2.pth')
    best = load_checkpoint(done / 'second' / 'best_toy_score_epoch_2.pth')
    raw = {name: last['ema_state_dict'][f'module.{name}'] for name in last['state_dict']}
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        files = {name: torch.load(done / f'{name}.pth', weights_only=True) for name in ('first', 'second')}
    finally:
        torch.serialization.add_safe_globals(allowed)
    for name, expected in (('first', raw), ('second', best['state_dict'])):
        assert set(files[name]) == {'meta', 'state_dict'}
        assert files[name]['meta']['dataset_meta']['classes'] == ('one', 'two')
        assert files[name]['state_dict'].keys() == expected.keys()
        assert all(torch.equal(files[name]['state_dict'][key], value) for key, value in expected.items())
    assert not torch.equal(files['first']['state_dict']['a.weight'], last['state_dict']['a.weight'])


def test_the_second_stage_took_the_file_of_the_first(home):
    done = home / 'done'
    config = Config.fromfile(done / 'configs' / 'second.py')
    taken = str((done / 'first.pth').resolve())
    assert config.load_from == config.default_hooks.distill.teacher.checkpoint == taken
    assert f'Load checkpoint from {taken}' in (done / 'second' / 'train.log').read_text()


def test_the_manifest_says_what_was_made_from_what(home):
    done = home / 'done'
    found = manifest(done)
    first, second = found['stages'].values()
    assert found['versions']['kd_plugins'] == found['kd_plugins'] and found['stages_file'] == str(home / 'stages.py')
    assert (first['config'], second['config']) == (str(home / 'first.py'), str(home / 'second.py'))
    assert len({first['config_sha256'], second['config_sha256']}) == 2
    assert (first['epochs'], first['epoch'], first['pick'], first['checkpoint']) == (2, 2, 'last', 'first/epoch_2.pth')
    assert (first['ema'], first['weights'], first['metrics_of']) == (False, 'raw', 'averaged')
    assert (second['epochs'], second['epoch'], second['pick']) == (3, 2, 'best')
    assert (second['checkpoint'], second['weights']) == ('second/best_toy_score_epoch_2.pth', 'raw')
    assert second['metrics']['toy/score'] == 0.9 and set(second['metrics']) == {'toy/score', 'toy/level'}
    for entry, name in ((first, 'first.pth'), (second, 'second.pth')):
        assert entry['status'] == 'finished' and entry['seed'] == 3 and entry['seconds'] > 0
        assert (entry['file'], entry['sha256']) == (name, file_hash(done / name))
    taken = {'stage': 'first', 'sha256': first['sha256']}
    assert second['takes'] == {'load_from': taken, 'default_hooks.distill.teacher.checkpoint': taken}


def test_what_is_finished_is_kept_and_shown(home, copy, chain, monkeypatch):
    no_training(monkeypatch)
    status, out, _ = chain(copy)
    assert status == 0
    assert 'first: finished before\nsecond: finished before' in out
    assert 'toy/score 0.9' in out and 'best: second/best_toy_score_epoch_2.pth' in out
    assert manifest(copy) == manifest(home / 'done')


@pytest.mark.skipif(os.name == 'nt', reason='kills a POSIX process group')
def test_killed_in_the_validation_of_the_best_epoch_and_run_again(home, copy, chain):
    # The chain as it was after its first stage, and after its second had been killed with the tool.
    shutil.rmtree(copy / 'second')
    (copy / 'second.pth').unlink()
    before = manifest(copy)
    expected = before['stages'].pop('second')
    (copy / 'stages.json').write_text(json.dumps(before))
    words = ['train-stages', str(home / 'stages.py'), '--work-dir', str(copy)]
    killed = warm_commands.call(words, copy / 'killed.log', group=True, STAGES_KILL='second:2')
    assert killed == -signal.SIGKILL, (copy / 'killed.log').read_text()
    assert manifest(copy)['stages']['second']['status'] == 'running'
    assert (copy / 'second' / 'epoch_2.pth').is_file()
    assert not (copy / 'second' / 'best_toy_score_epoch_2.pth').is_file()
    outcome = chain(copy)
    assert outcome.status == 0
    # Its second epoch had been saved, but not validated, so the resumed run validates it first.
    assert 'second: resumed from epoch_2.pth' in outcome.out
    found = manifest(copy)['stages']['second']
    assert found['sha256'] == expected['sha256'] and found['metrics'] == expected['metrics']
    assert {key for key in found if found[key] != expected[key]} <= {'seconds'}


def test_a_changed_config_is_refused_with_the_key(copy, chain, monkeypatch):
    no_training(monkeypatch)
    said = refused(chain(copy, '--cfg-options', 'second:optim_wrapper.optimizer.lr=0.2'))
    assert "stage 'second' is finished" in said and 'optim_wrapper.optimizer.lr is 0.2, was 0.1' in said
    assert '--redo second' in said
    said = refused(chain(copy, '--seed', '4'))
    assert "stage 'first'" in said and 'randomness.seed is 4, was 3' in said


def test_another_rule_picks_again_and_what_was_trained_from_the_other_file_is_refused(home, copy, chain, monkeypatch):
    no_training(monkeypatch)
    other = home / 'averaged.py'
    other.write_text("_base_ = './stages.py'\nstages = dict(first=dict(ema=True))\n")
    assert "'first', which it takes as load_from, is another file now" in refused(chain(copy, stages='averaged.py'))
    entry = manifest(copy)['stages']['first']
    assert (entry['weights'], entry['ema']) == ('averaged', True)
    expected = load_checkpoint(copy / 'first' / 'epoch_2.pth')['state_dict']
    assert torch.equal(load_checkpoint(copy / 'first.pth')['state_dict']['a.weight'], expected['a.weight'])


def test_a_damaged_file_is_written_again(copy, chain, monkeypatch):
    no_training(monkeypatch)
    whole = (copy / 'first.pth').read_bytes()
    (copy / 'first.pth').write_bytes(whole[:-1])
    assert chain(copy).status == 0
    assert (copy / 'first.pth').read_bytes() == whole


def test_redo_puts_a_stage_and_what_takes_from_it_aside(copy, chain, monkeypatch):
    started = []

    def execute(command, log, pass_fds):
        started.append(command)
        raise KDPluginsError('it broke')

    monkeypatch.setattr(chain_module, 'execute', execute)
    assert "stage 'first' failed: it broke" in refused(chain(copy, '--redo', 'first'))
    assert '--resume' not in started[0]
    assert (copy / 'replaced' / 'first-1' / 'first' / 'epoch_2.pth').is_file()
    assert (copy / 'replaced' / 'second-1' / 'second.pth').is_file()
    found = manifest(copy)['stages']
    assert set(found) == {'first'} and found['first']['status'] == 'failed'


def test_an_interrupted_stage_is_said_to_be_and_goes_on(copy, chain, monkeypatch):
    entries = manifest(copy)
    entries['stages']['second']['status'] = 'interrupted'
    (copy / 'stages.json').write_text(json.dumps(entries))
    commands = []

    def execute(command, log, pass_fds):
        commands.append(command)
        raise KeyboardInterrupt

    monkeypatch.setattr(chain_module, 'execute', execute)
    outcome = chain(copy)
    assert outcome.status == 130 and 'the same command goes on' in outcome.err
    assert commands[0][-2:] == ['--resume', str(copy / 'second' / 'epoch_3.pth')]
    found = manifest(copy)['stages']['second']
    assert found['status'] == 'interrupted' and 'started' not in found


def test_only_needs_what_it_takes_from(copy, chain, tmp_path, monkeypatch):
    no_training(monkeypatch)
    assert chain(copy, '--only', 'second').status == 0
    said = refused(chain(tmp_path / 'new', '--only', 'second'))
    assert "takes from 'first', which is not finished" in said
    assert "nearest: 'second'" in refused(chain(copy, '--only', 'secnd'))


def test_a_folder_in_use_and_many_ranks_are_refused(copy, chain, monkeypatch):
    with exclusive(copy):
        assert 'is still running' in refused(chain(copy))
    monkeypatch.setenv('WORLD_SIZE', '2')
    assert '--launcher pytorch --processes N' in refused(chain(copy))


def test_a_trained_model_stands_in_for_a_stage(home, copy, chain, tmp_path, monkeypatch):
    no_training(monkeypatch)
    given = home / 'given.py'
    checkpoint = copy / 'first' / 'epoch_2.pth'
    given.write_text(f"stages = dict(first=dict(checkpoint=r'{checkpoint}', ema=False))\n")
    assert chain(tmp_path / 'given', stages='given.py').status == 0
    ours, theirs = (
        load_checkpoint(path)['state_dict'] for path in (tmp_path / 'given' / 'first.pth', copy / 'first.pth')
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    checkpoint.write_bytes((copy / 'first' / 'epoch_1.pth').read_bytes())
    assert 'is not the file that it was then' in refused(chain(tmp_path / 'given', stages='given.py'))
    assert "stage 'first' is finished, and it was trained then" in refused(chain(copy, stages='given.py'))


def test_a_training_that_fails_is_quoted_with_its_log(chain, tmp_path, monkeypatch):
    monkeypatch.setattr(chain_module, 'execute', execute)  # in a new interpreter
    said = refused(chain(tmp_path / 'new', '--only', 'first', '--cfg-options', 'custom_hooks.0.momentum=7'))
    assert "stage 'first' failed" in said and 'train.log' in said and 'momentum' in said
    # Nothing was trained, so a mended config needs no --redo.
    monkeypatch.setattr(chain_module, 'execute', lambda command, log, pass_fds: print('started'))
    assert 'started' in chain(tmp_path / 'new', '--only', 'first').out


def test_a_single_training_and_a_chain_are_told_apart(home, run, chain, tmp_path):
    assert 'kd_plugins train-stages trains them' in refused(run(train, home / 'stages.py'))
    assert "has no 'stages'" in refused(chain(tmp_path / 'x', stages='first.py')) and not (tmp_path / 'x').exists()
