import pytest
import torch
from mmengine.config import Config

from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.runner.launch import init_gloo, set_resume, versions
from kd_plugins.runner.weights import check_weights


def config(work_dir, **changes):
    return Config({'work_dir': str(work_dir), 'load_from': None, 'resume': False, **changes})


def save(path, value=None):
    torch.save({'state_dict': {'weight': torch.zeros(1)} if value is None else value}, path)
    return str(path)


def test_auto_takes_the_newest_checkpoint_that_can_be_read(tmp_path):
    good = save(tmp_path / 'epoch_1.pth')
    (tmp_path / 'epoch_2.pth').write_bytes(b'cut off')
    found = config(tmp_path)
    assert set_resume(found, 'auto') == good
    assert found.resume and found.load_from == good


def test_auto_without_a_checkpoint_keeps_the_start_weights_of_the_config(tmp_path):
    start = save(tmp_path / 'pretrained.pth')
    found = config(tmp_path / 'new', load_from=start)
    assert set_resume(found, 'auto') is None
    assert not found.resume and found.load_from == start


def test_a_named_checkpoint_must_be_readable(tmp_path):
    (tmp_path / 'x.pth').write_bytes(b'cut off')
    with pytest.raises(CheckpointError, match='--resume: .*truncated'):
        set_resume(config(tmp_path), str(tmp_path / 'x.pth'))
    with pytest.raises(CheckpointError, match='load_from: .*does not exist'):
        set_resume(config(tmp_path, load_from=str(tmp_path / 'y.pth')), None)


def test_a_config_that_resumes_by_itself_is_heard(tmp_path):
    save(tmp_path / 'epoch_3.pth')
    found = config(tmp_path, resume=True)
    assert set_resume(found, None) == str(tmp_path / 'epoch_3.pth')


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is an accelerator')
def test_launchers_that_need_an_accelerator_say_so():
    with pytest.raises(ConfigError, match="--launcher is 'slurm'.*nearest: 'pytorch'"):
        init_gloo(Config({'launcher': 'slurm'}))


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is an accelerator')
def test_the_launcher_without_torchrun_is_a_sentence(monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match='not started by torchrun'):
        init_gloo(Config({'launcher': 'pytorch'}))


def test_versions_name_what_results_depend_on():
    assert {'python', 'kd_plugins', 'torch', 'mmengine'} <= set(versions())


def test_weights_that_would_stay_random_are_refused():
    model = torch.nn.Linear(2, 1)
    whole = {'state_dict': model.state_dict()}
    assert check_weights(model, whole, 'x.pth') == []
    with pytest.raises(CheckpointError, match=r"lacks 1 of the model's parameters \(first: 'bias'\)"):
        check_weights(model, {'state_dict': {'weight': model.weight.data}}, 'x.pth')
    with pytest.raises(CheckpointError, match=r'shape \(2, 2\).*\(1, 2\)'):
        check_weights(model, {'state_dict': {**whole['state_dict'], 'weight': torch.zeros(2, 2)}}, 'x.pth')
    assert (
        'does not use' in check_weights(model, {'state_dict': {**whole['state_dict'], 'x': torch.zeros(1)}}, 'x.pth')[0]
    )
