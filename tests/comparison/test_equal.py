"""Plain arms that cost as much as distilled ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from kd_plugins.comparison import equal
from kd_plugins.comparison.equal import comparable_length, make_equal
from kd_plugins.comparison.members import BASELINE, DISTILLED, Member
from kd_plugins.comparison.plan import make_arm
from kd_plugins.errors import ConfigError, KDPluginsError


def config(path: Path, length: int = 10, unit: str = 'max_epochs', **others: Any) -> Config:
    milestones = [{'type': 'MultiStepLR', 'milestones': [length // 2], 'end': length}]
    values = {'train_cfg': {unit: length}, 'val_cfg': {}, 'param_scheduler': milestones, **others}
    text = ''.join(f'{key} = {value!r}\n' for key, value in values.items())
    path.write_text(f"default_scope = 'mmengine'\n{text}")
    return Config.fromfile(str(path))


def member(folder: Path, name: str, kind: str = DISTILLED, **values: Any) -> Member:
    made = config(folder / f'{name}.py', **values)
    return Member(make_arm(str(folder / f'{name}.py'), made), made, kind)


def frozen(path: str) -> dict[str, Any]:
    teacher = {'type': 'kd_plugins.FrozenTeacher', 'config': path, 'checkpoint': 'big.pth'}
    return {'distill': {'type': 'kd_plugins.DistillHook', 'teacher': teacher, 'distillers': {}}}


@pytest.fixture
def ratios(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Step ratios by name, in place of measurements."""
    known: dict[str, float] = {}

    def step_ratio(name: str, *_: Any) -> float:
        if name not in known:
            raise KDPluginsError(f'{name} ended with status 2')
        return known[name]

    monkeypatch.setattr(equal, 'step_ratio', step_ratio)
    return known


def test_the_baseline_is_as_much_longer_as_a_step_costs_more(tmp_path: Path, ratios: dict[str, float]) -> None:
    ratios['taught'] = 1.37
    made = make_equal([member(tmp_path, 'plain', BASELINE), member(tmp_path, 'taught')], tmp_path / 'runs')
    (longer,) = made.members
    assert longer.arm.name == 'plain_equal-compute' and longer.arm.final_step == 14 and longer.kind == 'equal compute'
    written = Config.fromfile(longer.arm.path)
    assert written.train_cfg.max_epochs == 14 and written.param_scheduler[0].milestones == [7]
    assert longer.text == (
        'the baseline with 14 epochs instead of 10, as much as the training of taught, whose step takes 1.370 times as '
        'long'
    )
    assert made.ratios == {'taught': 1.37} and made.notes == []


def test_a_cheaper_arm_has_no_longer_baseline(tmp_path: Path, ratios: dict[str, float]) -> None:
    ratios.update(second=1.5, same=1.0)
    members = [member(tmp_path, 'plain', BASELINE), member(tmp_path, 'second', length=2), member(tmp_path, 'same')]
    made = make_equal(members, tmp_path / 'runs')
    assert not made.members
    assert made.notes[0] == (
        'second has no longer baseline: its training costs as much as 3.00 epochs of the baseline, which has 10'
    )


def test_several_distilled_arms_have_a_longer_baseline_each(tmp_path: Path, ratios: dict[str, float]) -> None:
    ratios.update(a=1.1, b=2.0)
    members = [member(tmp_path, 'plain', BASELINE), member(tmp_path, 'a'), member(tmp_path, 'b')]
    made = make_equal(members, tmp_path / 'runs')
    names = [(one.arm.name, one.arm.final_step) for one in made.members]
    assert names == [('plain_equal-compute_a', 11), ('plain_equal-compute_b', 20)]


def test_the_teacher_is_reported_and_counted_on_request(tmp_path: Path, ratios: dict[str, float]) -> None:
    config(tmp_path / 'big.py', length=5)
    big = str(tmp_path / 'big.py')
    members = [member(tmp_path, 'plain', BASELINE), member(tmp_path, 'taught', default_hooks=frozen(big))]
    ratios.update(taught=1.2, teacher_big=3.0)
    made = make_equal(members, tmp_path / 'runs')
    assert made.members[0].arm.final_step == 12
    assert made.notes == [
        f"the training of the teacher '{big}' of taught, worth 15.0 epochs of the baseline, is not counted"
    ]
    counted = make_equal(members, tmp_path / 'runs', big)
    assert counted.members[0].arm.final_step == 27
    assert counted.notes == [f"the training of the teacher '{big}' is counted for taught: 15.0 epochs"]
    assert 'and the training of the teacher, worth 15.0 epochs' in counted.members[0].text


def test_a_teacher_that_cannot_be_measured_stops_only_what_counts_it(tmp_path: Path, ratios: dict[str, float]) -> None:
    config(tmp_path / 'big.py')
    members = [
        member(tmp_path, 'plain', BASELINE),
        member(tmp_path, 'taught', default_hooks=frozen(str(tmp_path / 'big.py'))),
    ]
    ratios['taught'] = 1.2
    assert 'of unknown cost (teacher_big ended with status 2), is not counted' in make_equal(members, tmp_path).notes[0]
    with pytest.raises(KDPluginsError, match='teacher_big ended with status 2'):
        make_equal(members, tmp_path, str(tmp_path / 'big.py'))
    with pytest.raises(ConfigError, match='no distilled config has a kd_plugins.FrozenTeacher'):
        make_equal([members[0], member(tmp_path, 'self')], tmp_path, str(tmp_path / 'big.py'))


def test_lengths_in_other_units_are_refused(tmp_path: Path) -> None:
    epochs, iterations = config(tmp_path / 'a.py'), config(tmp_path / 'b.py', unit='max_iters')
    with pytest.raises(ConfigError, match='the baseline counts epochs and another training counts iters'):
        comparable_length(iterations, epochs)
