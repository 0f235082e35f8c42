"""Launch without an accelerator, the choice of a checkpoint to resume from, versions."""

import pytest
import torch
from mmengine.config import Config

from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.runner.launch import init_gloo, set_resume, versions
from kd_plugins.utils.device import has_accelerator


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


@pytest.mark.parametrize('content', [b'cut off', b'broken', b'\x80\x02', b''], ids=repr)
def test_a_named_checkpoint_must_be_readable(tmp_path, content):
    # As pickle instructions, the bytes name a class, pop from an empty stack, or end early.
    (tmp_path / 'x.pth').write_bytes(content)
    with pytest.raises(CheckpointError, match='--resume: .*truncated'):
        set_resume(make_config(tmp_path), str(tmp_path / 'x.pth'))
    with pytest.raises(CheckpointError, match='load_from: .*does not exist'):
        set_resume(make_config(tmp_path, load_from=str(tmp_path / 'y.pth')), None)


def test_resume_in_the_config_takes_the_newest_checkpoint(tmp_path):
    save(tmp_path / 'epoch_3.pth')
    config = make_config(tmp_path, resume=True)
    assert set_resume(config, None) == str(tmp_path / 'epoch_3.pth')


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


def test_versions_list_the_packages_that_affect_results():
    assert {'python', 'kd_plugins', 'torch', 'mmengine'} <= set(versions())
