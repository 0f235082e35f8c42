import argparse
from urllib.error import URLError

import pytest
import torch
from mmengine.optim import LinearLR
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from kd_plugins.errors import ConfigError
from kd_plugins.utils import cli
from kd_plugins.utils.cli import add_cfg_options, one_sentence, parse_options, sentence_of, whole_number


def parse(*values):
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    return parser.parse_args(['--cfg-options', *values]).cfg_options


def test_options_have_openmmlabs_meaning():
    assert parse('a.b=1', 'c=x,y', 'd="[(1,2)]"') == {'a.b': 1, 'c': ['x', 'y'], 'd': [(1, 2)]}


def test_an_option_without_a_value_is_one_sentence(capsys):
    with pytest.raises(SystemExit) as stopped:
        parse('a')
    assert stopped.value.code == 2
    assert "'a' has no '='" in capsys.readouterr().err


def test_help_names_the_defaults(capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument('--steps', type=int, default=20, help='measured steps')
    parser.add_argument('--seeds', nargs='+', default=[0, 1], help='seeds')
    parser.add_argument('--size', default=None, help='the size; default: that of the file')
    parser.add_argument('--quick', action='store_true', help='less of it')
    add_cfg_options(parser)
    with pytest.raises(SystemExit):
        cli.parse(parser, ['--help'])
    out = ' '.join(capsys.readouterr().out.split())
    assert 'measured steps (default: 20)' in out and 'seeds (default: [0, 1])' in out
    assert out.count('default:') == 3 and 'less of it' in out


def test_options_keep_the_spaces_of_a_path():
    expected = {
        'load_from=/my runs/a b.pth': '/my runs/a b.pth',
        'name="two words"': 'two words',
        "classes=['stop sign', car]": ['stop sign', 'car'],
        'classes=stop sign,car': ['stop sign', 'car'],
        'classes=(stop sign,)': ('stop sign',),
        'sizes=[1, 2, ]': [1, 2],
        'pairs=[(1, 2), (3, x y)]': [(1, 2), (3, 'x y')],
        'lr= 0.1': 0.1,
        'off= None ': None,
        'empty=': '',
        'empty=[]': [],
        'plain=[(1,2),3]': [(1, 2), 3],
    }
    for word, value in expected.items():
        assert list(parse_options([word]).values()) == [value]
    with pytest.raises(SystemExit):
        parse_options(['sizes=[(1, 2]'])


def test_a_known_mistake_is_one_line_and_status_2(capsys, monkeypatch):
    monkeypatch.delenv('KD_DEBUG', raising=False)
    with pytest.raises(SystemExit) as stopped, one_sentence():
        raise ConfigError("a.b is 'x'; nearest: 'y'")
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: a.b is 'x'; nearest: 'y'\n"


def test_anything_else_begins_with_a_sentence_and_keeps_its_traceback(capsys, monkeypatch):
    monkeypatch.delenv('KD_DEBUG', raising=False)
    with pytest.raises(SystemExit) as stopped, one_sentence():
        raise ZeroDivisionError('division by zero')
    assert stopped.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == 'error: unexpected ZeroDivisionError: division by zero'
    assert any('Traceback' in line for line in lines)


def test_debug_mode_lets_everything_through(monkeypatch):
    monkeypatch.setenv('KD_DEBUG', '1')
    with pytest.raises(ConfigError), one_sentence():
        raise ConfigError('x')


def test_an_interrupt_says_how_to_go_on(capsys, monkeypatch):
    monkeypatch.delenv('KD_DEBUG', raising=False)
    with pytest.raises(SystemExit) as stopped, one_sentence('kd_plugins train CONFIG --resume goes on'):
        raise KeyboardInterrupt
    assert stopped.value.code == 130
    assert capsys.readouterr().err == 'interrupted; kd_plugins train CONFIG --resume goes on\n'


def test_a_file_that_cannot_be_written_is_named():
    assert sentence_of(PermissionError(13, 'Permission denied', 'out.png')) == "'out.png': Permission denied"


def test_a_name_that_no_registry_knows_gets_its_nearest():
    from mmengine.registry import HOOKS

    with pytest.raises(KeyError) as caught:
        HOOKS.build({'type': 'kd_plugins.DistilHook'})
    assert "nearest: 'kd_plugins.DistillHook'" in (sentence_of(caught.value) or '')


def test_an_unknown_argument_names_its_type():
    from mmengine.registry import HOOKS

    with pytest.raises(TypeError) as caught:
        HOOKS.build({'type': 'LoggerHook', 'interal': 3})
    assert sentence_of(caught.value) == (
        "LoggerHook: got an unexpected keyword argument 'interal'; nearest: 'interval', 'interval_exp_name'"
    )


def test_a_sentence_from_a_data_loading_worker_is_its_last_line():
    text = (
        'Caught FileNotFoundError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  x\n'
    )
    error = FileNotFoundError(text + "FileNotFoundError: [Errno 2] No such file or directory: 'a.jpg'\n")
    assert sentence_of(error) == "[Errno 2] No such file or directory: 'a.jpg'"


def test_a_missing_package_is_named():
    error = ModuleNotFoundError("No module named 'mmpose'", name='mmpose')
    assert (sentence_of(error) or '').startswith("the package 'mmpose' is not installed (extra 'pose'); ")


def test_a_missing_package_is_named_where_the_error_lost_its_name():
    worker = 'Caught ModuleNotFoundError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n'
    error = ModuleNotFoundError(worker + "ModuleNotFoundError: No module named 'turbojpeg'\n")
    assert (sentence_of(error) or '').startswith("the package 'turbojpeg' is not installed; ")
    assert sentence_of(ModuleNotFoundError('see the guide.')) == (
        'a package cannot be imported (see the guide); kd_plugins doctor prints the fix'
    )


def test_a_failed_download_of_pretrained_weights():
    error = URLError(ConnectionRefusedError(111, 'Connection refused'))
    assert (sentence_of(error) or '').startswith(
        'a download failed (Connection refused), most likely of pretrained weights; name a file in init_cfg.checkpoint'
    )


def test_a_normalisation_of_one_value_says_what_to_change():
    with pytest.raises(ValueError, match='more than 1 value') as caught:
        torch.nn.GroupNorm(2, 2)(torch.zeros(1, 2, 1, 1))
    assert (sentence_of(caught.value) or '').startswith(
        'a normalisation layer got one value per channel (input of size [1, 2, 1, 1]), which has no variance; give '
    )


def test_schedules_over_epochs_without_a_batch():
    with pytest.raises(AssertionError) as caught:
        LinearLR.build_iter_from_epoch(
            torch.optim.SGD([torch.zeros(1)], lr=0.1), start_factor=0.1, begin=0, end=1, epoch_length=0
        )
    assert (sentence_of(caught.value) or '').startswith('train_dataloader gives no batch; check indices')


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        ({'batch_size': 0}, 'batch_size of a data loader is no whole number of 1 or more'),
        ({'batch_size': 'two'}, 'batch_size of a data loader is no whole number of 1 or more'),
        ({'num_workers': -1}, 'num_workers of a data loader is below 0; nearest: 0'),
        ({'persistent_workers': True}, 'set persistent_workers=False of that data loader'),
        ({'prefetch_factor': 2}, 'set prefetch_factor=None of that data loader'),
    ],
)
def test_settings_that_a_data_loader_refuses(settings, sentence):
    with pytest.raises(ValueError) as caught:
        DataLoader([0, 1], **settings)
    assert sentence in (sentence_of(caught.value) or '')


@pytest.mark.parametrize('text', ['0', '-1', '1.5', 'two', '', '3000000000'])
def test_a_number_that_is_out_of_its_range_is_one_sentence(text, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument('--jobs', type=whole_number(1))
    with pytest.raises(SystemExit):
        parser.parse_args(['--jobs', text])
    assert f"argument --jobs: '{text}' is no whole number from 1 to 2147483647" in capsys.readouterr().err
    assert parser.parse_args(['--jobs', '2']).jobs == 2


def test_settings_that_a_batch_sampler_excludes():
    """MMDetection's loaders have an AspectRatioBatchSampler, whose own ``drop_last`` counts."""
    items = [0, 1]
    with pytest.raises(ValueError) as caught:
        DataLoader(items, batch_sampler=BatchSampler(SequentialSampler(items), 1, False), drop_last=True)
    assert (sentence_of(caught.value) or '').startswith('a data loader with a batch_sampler takes no drop_last')
