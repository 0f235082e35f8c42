"""Loading a config: options, remarks on options, scopes that are not installed."""

import pytest
from mmengine.config import Config

from kd_plugins.config.loading import class_name, load_config, register_scope, unknown_options
from kd_plugins.errors import ConfigError, MissingDependencyError


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / 'plain.py'
    path.write_text("default_scope = 'mmengine'\nrandomness = dict(seed=1)\nmodel = dict(type='X', steps=[1, 2])\n")
    return path


def test_options_change_the_config(plain):
    config = load_config(str(plain), {'randomness.seed': 5, 'model.steps': [3]})
    assert config.randomness.seed == 5
    assert config.model.steps == [3]


def test_the_distill_hook_can_be_switched_off(plain, tmp_path):
    plain.write_text(plain.read_text() + "default_hooks = dict(distill=dict(type='kd_plugins.DistillHook'))\n")
    changed = load_config(str(plain), {'default_hooks.distill': None, 'default_hooks.timer': None})
    assert 'distill' not in changed.default_hooks
    child = tmp_path / 'child.py'
    child.write_text("_base_ = './plain.py'\ndefault_hooks = dict(distill=None, timer=None)\n")
    assert load_config(str(child)).default_hooks == {'timer': None}  # MMEngine's runner accepts None for its own hooks


def test_an_option_inside_a_number_is_refused(plain):
    with pytest.raises(ConfigError, match=r'--cfg-options: randomness\.seed\.x=1 does not fit'):
        load_config(str(plain), {'randomness.seed.x': 1})


def test_a_misspelt_option_gets_a_remark_with_the_nearest_key(plain, capsys):
    load_config(str(plain), {'randomness.sed': 1})
    assert "randomness has no 'sed'; nearest: 'seed'" in capsys.readouterr().err


def test_an_argument_of_a_class_gets_no_remark():
    assert unknown_options(Config({'model': {'type': 'X', 'depth': 1}}), {'model.dept': 2}) == []


def test_a_config_that_does_not_exist_names_the_nearest(plain):
    with pytest.raises(ConfigError, match=r"does not exist; nearest: '.*plain\.py'"):
        load_config(str(plain.with_name('plan.py')))


def test_a_missing_config_of_a_package_names_the_nearest():
    pytest.importorskip('mmdet')
    with pytest.raises(ConfigError, match=r"[^']' does not exist; nearest: 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'"):
        load_config('mmdet::gfl/gfl_r50_fpn_1x_coc.py')
    with pytest.raises(ConfigError, match=r"does not exist; '.*/nowhere' holds no config$"):
        load_config('mmdet::nowhere/x.py')


def test_a_config_that_cannot_be_parsed_is_one_sentence(tmp_path):
    path = tmp_path / 'broken.py'
    path.write_text('model = dict(\n')
    with pytest.raises(ConfigError, match='SyntaxError'):
        load_config(str(path))


def test_a_package_that_is_not_installed_names_its_extra():
    with pytest.raises(MissingDependencyError, match='mmnothing'):
        register_scope('mmnothing')
    with pytest.raises(ConfigError, match="nearest: 'mmdet'"):
        register_scope('mdet')


@pytest.mark.parametrize('key', [1, '', None], ids=repr)
def test_a_key_that_is_no_name_of_an_argument_is_refused(tmp_path, key):
    (tmp_path / 'a.py').write_text(f"model = dict(neck={{'type': 'FPN', {key!r}: 2}}, labels={{0: 'cell'}})")
    with pytest.raises(ConfigError, match=rf"^model.neck: the key {key!r} is not the name of an argument of 'FPN'$"):
        load_config(str(tmp_path / 'a.py'))


def test_a_default_scope_whose_import_fails_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / 'mmbroken').mkdir()
    (tmp_path / 'mmbroken' / 'utils.py').write_text("raise ModuleNotFoundError('see the guide')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        MissingDependencyError, match=r"^default_scope is 'mmbroken', and mmbroken.utils cannot .*guide\)"
    ):
        register_scope('mmbroken')


def test_the_class_of_the_model_tells_the_scope_of_a_config_without_one(tmp_path):
    """Configs of MMEngine's new style have ``default_scope = None``."""
    pytest.importorskip('mmdet')
    path = tmp_path / 'mine.py'
    path.write_text('from mmdet.models import GFL\ndefault_scope = None\nmodel = dict(type=GFL)\n')
    assert load_config(str(path)).default_scope == 'mmdet'
    path.write_text('from torch.nn import Identity\nmodel = dict(type=Identity)\n')
    assert load_config(str(path)).get('default_scope') is None


def test_classes_and_functions_have_the_names_of_their_texts():
    assert [class_name({'type': kind}) for kind in (Config, load_config, 'mmdet.GFL')] == [
        'Config',
        'load_config',
        'GFL',
    ]
