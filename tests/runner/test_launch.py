"""Launch without an accelerator, the choice of a checkpoint to resume from, versions."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.runner.launch import (
    build_runner,
    check_resumed_weights,
    check_strategy,
    init_gloo,
    set_resume,
    versions,
    write_run_record,
)
from kd_plugins.runner.steps import prepare_config
from kd_plugins.utils.device import has_accelerator
from tests.file_server import serve


def make_config(work_dir, **changes):
    return Config({'work_dir': str(work_dir), 'load_from': None, 'resume': False, **changes})


def save(path, value=None):
    torch.save({'state_dict': {'weight': torch.zeros(1)} if value is None else value}, path)
    return str(path)


def test_auto_takes_the_newest_readable_checkpoint(tmp_path):
    good = save(tmp_path / 'epoch_1.pth')
    (tmp_path / 'epoch_2.pth').write_bytes(b'cut off')
    config = make_config(tmp_path)
    assert set_resume(config, 'auto') == good
    assert config.resume and config.load_from == good


def test_auto_without_a_checkpoint_keeps_the_start_weights_of_the_config(tmp_path):
    start = save(tmp_path / 'pretrained.pth')
    config = make_config(tmp_path / 'new', load_from=start)
    assert set_resume(config, 'auto') is None
    assert not config.resume and config.load_from == start
    with pytest.raises(CheckpointError, match='load_from: .*does not exist'):
        set_resume(make_config(tmp_path / 'new', load_from=str(tmp_path / 'missing.pth')), 'auto')


@pytest.mark.parametrize('content', [b'cut off', b'broken', b'\x80\x02', b''], ids=repr)
def test_a_named_checkpoint_must_be_readable(tmp_path, content):
    # As pickle instructions, the bytes name a class, pop from an empty stack, or end early.
    (tmp_path / 'x.pth').write_bytes(content)
    with pytest.raises(CheckpointError, match='--resume: .*truncated'):
        set_resume(make_config(tmp_path), str(tmp_path / 'x.pth'))
    with pytest.raises(CheckpointError, match='load_from: .*does not exist'):
        set_resume(make_config(tmp_path, load_from=str(tmp_path / 'y.pth')), None)


@pytest.mark.parametrize('content', [{}, {'a': None}], ids=repr)
def test_a_start_without_weights_is_refused(tmp_path, content):
    path = save(tmp_path / 'x.pth', content)
    with pytest.raises(CheckpointError, match=f"^load_from: '{path}' holds no weights; expected a dict"):
        set_resume(make_config(tmp_path, load_from=path), None)


def test_a_run_goes_on_from_complete_checkpoints_only(tmp_path):
    path = save(tmp_path / 'x.pth')
    with pytest.raises(
        CheckpointError, match=f"^--resume: '{path}' holds no 'meta.epoch', .* with load_from='{path}'$"
    ):
        set_resume(make_config(tmp_path), path)


def test_a_resumed_checkpoint_must_hold_every_weight(tmp_path):
    runner = SimpleNamespace(model=torch.nn.Linear(1, 1))
    with pytest.raises(CheckpointError, match="^--resume: .* lacks 1 of the model's parameters .first: 'bias'"):
        check_resumed_weights(runner, save(tmp_path / 'x.pth', {'weight': torch.zeros(1, 1)}))
    check_resumed_weights(runner, save(tmp_path / 'y.pth', runner.model.state_dict()))


def test_hooks_are_checked_before_the_runner_is_built(tmp_path):
    entry = {'type': 'kd_plugins.DistillHook', 'distillers': {}, 'techer': {}}
    with pytest.raises(
        ConfigError, match="^default_hooks.distill: DistillHook has no argument 'techer'; nearest: 'teacher'"
    ):
        build_runner(make_config(tmp_path, default_hooks={'distill': entry}))


def test_resume_in_the_config_takes_the_newest_checkpoint(tmp_path):
    save(tmp_path / 'epoch_3.pth')
    config = make_config(tmp_path, resume=True)
    assert set_resume(config, None) == str(tmp_path / 'epoch_3.pth')


def test_resume_in_the_config_goes_on_from_load_from(tmp_path):
    """The checkpoint is checked as that of ``--resume``, so that it is in the record of the run."""
    save(tmp_path / 'epoch_3.pth')
    other = save(tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=f"^resume: '{other}' holds no 'meta.epoch', .* and resume=False$"):
        set_resume(make_config(tmp_path, resume=True, load_from=other), None)
    hub = {'log_scalars': {}, 'runtime_info': {}, 'resumed_keys': {}}
    content = {'state_dict': {'weight': torch.zeros(1)}, 'meta': {'epoch': 1, 'iter': 4}, 'message_hub': hub}
    torch.save(content, tmp_path / 'old.pth')
    for changes in ({'resume': True, 'load_from': str(tmp_path / 'old.pth')}, {'resume': str(tmp_path / 'old.pth')}):
        config = make_config(tmp_path, **changes)
        assert set_resume(config, None) == str(tmp_path / 'old.pth')
        assert config.resume is True and config.load_from == str(tmp_path / 'old.pth')


def test_remote_weights_are_left_to_mmengine():
    check_resumed_weights(SimpleNamespace(model=torch.nn.Linear(1, 1)), 's3://bucket/run/epoch_2.pth')


def test_the_record_of_a_run(tmp_path):
    """It is complete or absent, also where MMEngine's FlexibleRunner has no ``deterministic``."""
    runner = SimpleNamespace(
        log_dir=str(tmp_path / 'log'), seed=3, world_size=1, cfg=Config({'randomness': {'deterministic': True}})
    )
    write_run_record(runner, 'epoch_1.pth')
    (file,) = (tmp_path / 'log').iterdir()
    record = json.loads(file.read_text())
    assert (file.name, record['deterministic'], record['resumed_from']) == ('run.json', True, 'epoch_1.pth')


def test_an_interrupted_record_leaves_no_half(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, 'replace', lambda *args: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        write_run_record(SimpleNamespace(log_dir=str(tmp_path), seed=3, world_size=1, cfg=Config()))
    assert not (tmp_path / 'run.json').exists()


@pytest.mark.parametrize('name', ['DeepSpeedStrategy', 'mmengine.FSDPStrategy', 'ColossalAIStrategy'])
def test_strategies_that_divide_a_model_are_refused(tmp_path, name):
    entry = {'type': 'kd_plugins.DistillHook', 'distillers': {}}
    flexible = {'runner_type': 'FlexibleRunner', 'strategy': {'type': name}, 'model': {}, 'train_dataloader': {}}
    config = make_config(tmp_path, default_hooks={'distill': entry}, **flexible)
    short = name.rpartition('.')[2]
    for refuses in (build_runner, lambda config: prepare_config(config, str(tmp_path), generated=False)):
        with pytest.raises(ConfigError, match=f"^strategy.type is '{short}', which divides .*nearest: 'DDPStrategy'$"):
            refuses(config)
    check_strategy(make_config(tmp_path, **flexible))
    check_strategy(make_config(tmp_path, default_hooks={'distill': entry}, strategy={'type': name}))


@pytest.mark.skipif(has_accelerator(), reason='this machine has an accelerator')
def test_a_strategy_of_several_processes_needs_an_accelerator():
    with pytest.raises(ConfigError, match="^runner_type is 'FlexibleRunner'.*nearest: 'Runner'$"):
        init_gloo(Config({'launcher': 'pytorch', 'runner_type': 'FlexibleRunner'}))


@pytest.mark.skipif(has_accelerator(), reason='this machine has an accelerator')
def test_launchers_that_need_an_accelerator_are_refused():
    with pytest.raises(ConfigError, match="--launcher is 'slurm'.*nearest: 'pytorch'"):
        init_gloo(Config({'launcher': 'slurm'}))


@pytest.mark.skipif(has_accelerator(), reason='this machine has an accelerator')
def test_the_launcher_without_torchrun_is_refused(monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match='not started by torchrun'):
        init_gloo(Config({'launcher': 'pytorch'}))


@pytest.mark.skipif(has_accelerator(), reason='this machine has an accelerator')
def test_norms_are_not_synchronised_without_a_gpu(tmp_path, capsys):
    config = Config({'launcher': 'pytorch', 'sync_bn': 'torch'})
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/rendezvous', rank=0, world_size=1)
    try:
        init_gloo(config)
    finally:
        torch.distributed.destroy_process_group()
    assert config.sync_bn is None and config.model_wrapper_cfg.device_ids is None
    # As in MMEngine's own wrapper, so that a rank keeps its statistics.
    assert config.model_wrapper_cfg.broadcast_buffers is False
    assert "note: sync_bn is 'torch', which needs a GPU" in capsys.readouterr().err


def test_versions_list_the_packages_that_affect_results():
    assert {'python', 'kd_plugins', 'torch', 'mmengine'} <= set(versions())


def test_a_url_is_tried_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    torch.save({'state_dict': {'x': torch.ones(1)}}, tmp_path / 'x.pth')
    with serve({'x.pth': (tmp_path / 'x.pth').read_bytes()}) as address:
        with pytest.raises(
            CheckpointError, match=r"^load_from: 'http\S+/y.pth' cannot be downloaded \(404 Not Found\)"
        ):
            set_resume(make_config(tmp_path, load_from=f'{address}/y.pth'), None)
        set_resume(make_config(tmp_path, load_from=f'{address}/x.pth'), None)
    # MMEngine finds the file, with the server gone.
    assert CheckpointLoader.load_checkpoint(f'{address}/x.pth')['state_dict']['x'].item() == 1.0
    monkeypatch.setenv('LOCAL_RANK', '1')
    set_resume(make_config(tmp_path, load_from=f'{address}/y.pth'), None)
