"""What ``kd_plugins suggest`` prints: entries that pass preflight when they are pasted, and reasons for the others."""

from pathlib import Path

import pytest
from mmengine.config import Config

from kd_plugins.commands import preflight, suggest
from kd_plugins.config.reading import read_config
from kd_plugins.suggestions import features
from kd_plugins.suggestions.recipe import Recipe, Suggestion

pytest.importorskip('mmdet')
CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
SMALL = 'model = dict(backbone=dict(base_channels=8), neck=dict(in_channels=[8, 16, 32, 64]))\n'


@pytest.fixture(autouse=True)
def small_foundation_model(monkeypatch):
    # A quarter of the width in a quarter of the time; the entry is the same.
    monkeypatch.setattr(features, 'FOUNDATION', 'vit_small_patch16_dinov3')


def write(folder, name, base, rest=SMALL):
    path = folder / f'{name}.py'
    path.write_text(f"_base_ = '{CONFIGS / base}'\n{rest}", encoding='utf-8')
    return path


def entries(out):
    """Return each printed entry as text of a config."""
    _, *blocks = out.split('\ndefault_hooks = ')
    return [f'default_hooks = {block.partition(chr(10) + "#")[0]}\n' for block in blocks]


def test_every_entry_passes_preflight_when_it_is_pasted(run, tmp_path):
    student = write(tmp_path, 'student', 'gfl/gfl_r18_bccd.py')
    teacher = write(tmp_path, 'teacher', 'gfl/gfl_r18_bccd.py', '')
    for options in ([], ['--teacher', str(teacher)]):
        status, out, err = run(suggest, student, *options)
        assert status == 0, err
        found = entries(out)
        assert len(found) >= 3
        for number, entry in enumerate(found):
            for file in suggest.PLACEHOLDERS.values():
                entry = entry.replace(f"checkpoint='{file}'", 'checkpoint=None')
            rest = f"custom_imports = dict(imports=['kd_plugins'])\n{entry}"
            pasted = write(tmp_path, f'pasted_{number}', student, rest)
            status, report, err = run(preflight, pasted, '--generated')
            assert status == 0, (entry, report, err)


def test_what_the_config_imports_stays_imported():
    """MMEngine replaces the list of an inherited config, whose own models would then be unknown."""
    own = Config({'custom_imports': {'imports': ['my_models', 'kd_plugins'], 'allow_failed_imports': True}})
    assert suggest.imports_text(own).endswith("dict(imports=['my_models', 'kd_plugins'], allow_failed_imports=True)")
    one = Config({'custom_imports': {'imports': 'my_models'}})
    assert suggest.imports_text(one).endswith("(imports=['my_models', 'kd_plugins'], allow_failed_imports=False)")
    assert suggest.imports_text(Config({})).endswith("dict(imports=['kd_plugins'], allow_failed_imports=False)")


def test_methods_that_do_not_fit_come_last_with_a_reason(run, tmp_path):
    status, out, _ = run(suggest, write(tmp_path, 'student', 'gfl/gfl_r18_bccd.py'))
    assert status == 0
    last = out.partition('# Does not fit this model:')[2]
    assert 'no decode_head' in last and 'default_hooks' not in last


def test_a_wrong_path_is_one_sentence(run):
    status, _, err = run(suggest, 'no/such.py')
    assert status == 2 and len(err.strip().splitlines()) == 1


def test_a_checkpoint_belongs_to_a_teacher(run, tmp_path):
    """It took the place of the foundation model's weights, or every entry was refused for it."""
    student = write(tmp_path, 'student', 'gfl/gfl_r18_bccd.py')
    status, out, err = run(suggest, student, '--checkpoint', 'x.pth')
    assert status == 2 and not out and '--checkpoint is that of --teacher' in err
    status, out, err = run(suggest, student, '--teacher', student, '--checkpoint', tmp_path / 'x.pth')
    assert status == 2 and not out and err.startswith(f"error: --checkpoint: '{tmp_path / 'x.pth'}' does not exist")


def test_what_is_printed_for_a_config_of_the_new_style_keeps_its_hooks(tmp_path, capsys):
    """There, an assignment of ``default_hooks`` would replace those of the base."""
    base = tmp_path / 'student.py'
    base.write_text('from torch.nn import Identity\nmodel = dict(type=Identity)\ndefault_hooks = dict(logger=None)\n')
    settings = {'teacher': None, 'distillers': {'dsd': {'type': 'kd_plugins.DualSelfDistiller'}}}
    recipe = Recipe('dsd', 'title', 'evidence', 'cost', lambda pair: settings)
    suggest.show([Suggestion(recipe, settings)], read_config(str(base)))
    child = tmp_path / 'child.py'
    read = 'from mmengine.config import read_base\nwith read_base():\n    from .student import *\n'
    child.write_text(read + capsys.readouterr().out)
    hooks = read_config(str(child)).default_hooks
    assert list(hooks) == ['logger', 'distill'] and list(hooks.distill.distillers) == ['dsd']


def test_an_entry_replaces_the_one_of_the_config(tmp_path, capsys):
    """MMEngine merged both, so that the average of the student got the checkpoint of a frozen teacher."""
    old = (
        "teacher=dict(type='kd_plugins.FrozenTeacher', config='a.py', checkpoint='a.pth'), distillers=dict(old=dict())"
    )
    base = tmp_path / 'student.py'
    base.write_text(f"default_hooks = dict(logger=None, distill=dict(type='kd_plugins.DistillHook', {old}))\n")
    settings = {'teacher': {'type': 'kd_plugins.EMATeacher'}, 'distillers': {'new': {}}}
    recipe = Recipe('new', 'title', 'evidence', 'cost', lambda pair: settings)
    suggest.show([Suggestion(recipe, settings)], read_config(str(base)))
    child = tmp_path / 'child.py'
    child.write_text("_base_ = './student.py'\n" + capsys.readouterr().out)
    hooks = read_config(str(child)).default_hooks
    assert list(hooks) == ['logger', 'distill']
    assert hooks.distill == dict(type='kd_plugins.DistillHook', **settings)


def test_nothing_is_to_be_added_where_nothing_fits(tmp_path, capsys):
    (tmp_path / 'student.py').write_text('')
    recipe = Recipe('dsd', 'title', 'evidence', 'cost', dict)
    suggest.show([Suggestion(recipe, reason='a reason')], read_config(str(tmp_path / 'student.py')))
    assert capsys.readouterr().out.strip().splitlines() == ['# Does not fit this model:', '# * title: a reason.']
