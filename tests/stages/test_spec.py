"""What a stages file may say, and what is refused before anything is trained."""

import pytest
import torch

from kd_plugins.config.reading import read_config
from kd_plugins.errors import ConfigError, KDPluginsError
from kd_plugins.stages.spec import Stage, dependents, make_plan, ordered, read_stages, split_options

BASE = """
default_scope = 'mmengine'
model = dict(type='M')
train_dataloader = dict(dataset=dict(type='D'))
train_cfg = dict(max_epochs=2)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
default_hooks = dict(distill=dict(type='kd_plugins.DistillHook', teacher=dict(type='kd_plugins.FrozenTeacher')))
custom_hooks = [dict(type='EMAHook')]
"""
VALIDATED = """
_base_ = './base.py'
val_cfg = dict(type='ValLoop')
default_hooks = dict(checkpoint=dict(save_best={}))
"""
TEACHER = 'default_hooks.distill.teacher.checkpoint'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'base.py').write_text(BASE)
    (tmp_path / 'validated.py').write_text(VALIDATED.format("'AP'"))
    (tmp_path / 'several.py').write_text(VALIDATED.format("['AP', 'AR']"))
    return tmp_path


def read(folder, text, name='stages.py'):
    path = folder / name
    path.write_text(text)
    return read_stages(read_config(str(path)), str(path))


def plan(folder, text, options=None):
    return [make_plan(stage, options or {}) for stage in read(folder, text)]


def test_paths_are_those_of_the_stages_file_wherever_one_stands(folder, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp('elsewhere'))
    (stage,) = read(folder, "stages = dict(first=dict(config='./base.py'))")
    assert stage.config == str(folder / 'base.py')
    assert make_plan(stage, {}).config.train_cfg.max_epochs == 2


def test_an_inherited_file_names_its_own_folder(folder):
    (folder / 'child').mkdir()
    read(folder, "stages = dict(first=dict(config='{{fileDirname}}/base.py'), second=dict(config='./base.py'))")
    text = "_base_ = '../stages.py'\nstages = dict(first=dict(pick='best', ema=False), second=None)\n"
    (stage,) = read(folder / 'child', text)
    assert (stage.config, stage.pick, stage.ema) == (str(folder / 'base.py'), 'best', False)


def test_a_config_of_a_package_is_left_as_it_is(folder):
    (stage,) = read(folder, "stages = dict(first=dict(config='mmdet::gfl/gfl_r50_fpn_1x_coco.py'))")
    assert stage.config == 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'


def test_a_stage_that_a_child_adds_runs_before_the_one_that_takes_from_it(folder):
    (folder / 'parent.py').write_text("stages = dict(first=dict(config='./base.py'), second=dict(config='./base.py'))")
    child = (
        "_base_ = './parent.py'\n"
        f"stages = dict(first=dict(takes={{'{TEACHER}': 'teacher'}}), teacher=dict(config='./base.py'))\n"
    )
    assert [stage.name for stage in read(folder, child)] == ['second', 'teacher', 'first']


REFUSED = {
    'x = 1': r"has no 'stages'.*kd_plugins train trains a single config; nearest: '.*stages\.py'|valid: none",
    'stages = [1]': r'^config: .* has stages = \[1\]; valid: a dict of name to stage$',
    'stages = dict(a=dict(config=3))': r'^stages\.a\.config is 3; valid: a non-empty string or None$',
    'stages = dict(a=dict(config={1}))': r'^stages\.a\.config is \{1\}; valid: a non-empty string or None$',
    "stages = dict(a=dict(config='./base.py', ema=1))": r'^stages\.a\.ema is 1; valid: True or False or None$',
    'stages = dict(a=3)': r'stages\.a is 3; valid: dict\(config',
    'stages = dict(a=dict())': r"stages\.a needs either 'config'",
    "stages = dict(a=dict(config='./base.py', checkpoint='x.pth'))": r"needs either 'config'",
    "stages = dict(a=dict(checkpoint='x.pth', pick='best'))": r"stages\.a\.pick belongs to a training, and 'x\.pth'",
    "stages = dict(a=dict(config='./bsae.py'))": r"stages\.a\.config: .*bsae\.py' does not exist; nearest: .*base\.py'",
    "stages = dict(a=dict(config='./base.py', pikc='last'))": r"has no argument 'pikc'; nearest: 'pick'",
    "stages = dict(a=dict(config='./base.py', takes='b'))": r"stages\.a\.takes is 'b'; valid: a dict",
    "stages = {'a/b': dict(config='./base.py')}": r"becomes that of a folder; .* not 'a/b'",
    "stages = dict(configs=dict(config='./base.py'))": r'becomes that of a folder',
    "stages = dict(fisrt=dict(config='./base.py'), b=dict(config='./base.py', takes=dict(load_from='first')))": (
        r"stages\.b\.takes\['load_from'\] is 'first'; nearest: 'fisrt'"
    ),
    "stages = dict(a=dict(config='./base.py', takes=dict(load_from='a')))": r"is 'a'; valid: none",
    "stages = dict(a=dict(config='./base.py', takes=dict(load_from='b')), b=dict(config='./base.py', "
    "takes=dict(load_from='a')))": r'stages: a takes from b takes from a, so none of them can start',
}


@pytest.mark.parametrize('text', REFUSED)
def test_what_no_stage_can_be_is_one_sentence(folder, text):
    with pytest.raises(ConfigError, match=REFUSED[text]):
        read(folder, text)


def test_a_file_beside_it_that_is_not_utf8_hides_nothing(folder):
    (folder / 'old.py').write_bytes('# größer\nx = 1\n'.encode('latin-1'))
    with pytest.raises(ConfigError, match="has no 'stages'"):
        read(folder, 'x = 1')


UNFIT = {
    "config='./base.py', pick='bset'": r"stages\.b\.pick is 'bset'; nearest: 'best'",
    "config='./base.py', pick='best'": r"pick is 'best', but default_hooks\.checkpoint\.save_best is off; .*'last'",
    "config='./several.py', pick='best'": r"save_best names several; nearest: 'best:AP'",
    "config='./several.py', pick='best:AQ'": r"save_best does not name 'AQ'; nearest: 'A",
    "config='./validated.py', pick='best', cfg_options={'val_cfg': None}": r"pick is 'best', but val_cfg is missing",
    "config='./base.py', ema=True, cfg_options=dict(custom_hooks=[])": r'ema is True, but no hook .* is an EMAHook',
    "config='./base.py', ema=1": r'stages\.b\.ema is 1; valid: True or False or None',
    "config='./base.py', cfg_options={'default_hooks.checkpoint.out_dir': 'x'}": r'out_dir is set',
    "config='./base.py', cfg_options={'default_hooks.checkpoint.filename_tmpl': 'x{}.pth'}": r"nearest: 'epoch_",
    "config='./base.py', cfg_options={'default_hooks.checkpoint': None}": r'saves no checkpoint to pick',
    "config='./base.py', cfg_options=dict(model=None)": r"base\.py' has no 'model', so it cannot be trained",
    "config='./base.py', cfg_options={'train_cfg.x': float('inf')}": r'cannot write to a file and read back',
    "checkpoint='nowhere.pth'": r"stages\.b\.checkpoint: 'nowhere\.pth' does not exist; ",
    "config='./base.py', takes={'default_hooks.distil.teacher.checkpoint': 'a'}": (
        r"cannot be set, default_hooks has no dict 'distil'; nearest: 'distill'"
    ),
    "config='./base.py', takes={'custom_hooks.4.x': 'a'}": r"custom_hooks has no dict '4'; valid: a position",
    "config='./base.py', takes=dict(load_form='a')": r"base\.py' has no 'load_form'; nearest: 'load_from'",
}


@pytest.mark.parametrize('entry', UNFIT)
def test_what_would_fail_after_hours_is_refused_at_once(folder, entry):
    with pytest.raises(KDPluginsError, match=UNFIT[entry]):
        plan(folder, f"stages = dict(a=dict(config='./base.py'), b=dict({entry}))")


@pytest.mark.parametrize('entry', ["pick='best:AR', config='./several.py'", "pick='best', config='./validated.py'"])
def test_rules_that_the_run_can_follow(folder, entry):
    (found,) = plan(folder, f'stages = dict(a=dict({entry}, ema=True))')
    assert found.stage.pick.startswith('best')


def test_the_hash_is_that_of_the_settings_and_not_of_where_they_are(folder, tmp_path_factory):
    text = f"stages = dict(a=dict(config='./base.py'), b=dict(config='./base.py', takes={{'{TEACHER}': 'a'}}))"
    other = tmp_path_factory.mktemp('other')
    (other / 'base.py').write_text(BASE)
    here, there, changed = plan(folder, text), plan(other, text), plan(folder, text, {'train_cfg.max_epochs': 3})
    assert [one.hash for one in here] == [one.hash for one in there]
    assert not {one.hash for one in here} & {one.hash for one in changed}
    # The stage whose file is taken is part of the settings, its path is not.
    assert here[1].config.default_hooks.distill.teacher.checkpoint == '{a}' and here[0].hash != here[1].hash


def test_options_of_the_command_line_come_after_those_of_the_file(folder):
    text = "stages = dict(a=dict(config='./base.py', cfg_options={'train_cfg.max_epochs': 5, 'model.x': 1}))"
    (found,) = plan(folder, text, {'train_cfg.max_epochs': 7})
    assert (found.config.train_cfg.max_epochs, found.config.model.x) == (7, 1)


def test_the_hash_of_a_checkpoint_is_that_of_its_content(folder, tmp_path):
    torch.save({'a': torch.zeros(1)}, tmp_path / 'a.pth')
    (tmp_path / 'b.pth').write_bytes((tmp_path / 'a.pth').read_bytes())
    first, second = (make_plan(Stage('x', checkpoint=str(tmp_path / name)), {}) for name in ('a.pth', 'b.pth'))
    assert first.hash == second.hash
    address = make_plan(Stage('x', checkpoint='https://example.org/a.pth'), {})
    assert address.hash != first.hash and address.config is None


def test_options_for_one_stage_and_for_all():
    found = split_options(['lr=1', 'a:lr=2', 'url=http://x'], ['a', 'b'])
    assert found == {'a': ['lr=1', 'url=http://x', 'lr=2'], 'b': ['lr=1', 'url=http://x']}
    with pytest.raises(ConfigError, match=r"--cfg-options c:lr=2: the stage is 'c'; valid: 'a', 'b'"):
        split_options(['c:lr=2'], ['a', 'b'])


def test_order_and_dependents():
    stages = [Stage('c', takes={'x': 'b'}), Stage('d'), Stage('b', takes={'x': 'a'}), Stage('a')]
    names = [stage.name for stage in ordered(stages)]
    assert names == ['d', 'a', 'b', 'c']
    assert dependents(ordered(stages), ['b']) == ['b', 'c']
