"""The comparison of the cost of distillation in several checkouts."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from tools.benchmark import overhead_checkouts as tool

ROOT = Path(__file__).resolve().parents[2]
# A network that runs in a blink.
SMALL = ['model.backbone.base_channels=8', 'model.neck.in_channels=[8,16,32,64]']


def test_ratios_are_medians_over_neighbouring_steps() -> None:
    def costs(seconds: list[float], peak: int) -> dict[str, object]:
        return dict(seconds=seconds, processor_seconds=[0.5 * value for value in seconds], peak_bytes=peak)

    rounds = [
        {tool.BASELINE: costs([1.0, 2.0, 1.0], 10), 'a': costs([1.2, 2.4, 9.0], 12)},
        {tool.BASELINE: costs([3.0], 10), 'a': costs([3.0], 12)},
    ]
    assert tool.ratios(rounds, 'a') == pytest.approx((1.2, 1.2, 1.2))


def test_a_frozen_teacher_replaces_the_one_of_the_config() -> None:
    config = Config(dict(default_hooks=dict(distill=dict(teacher=dict(type='kd_plugins.EMATeacher', momentum=0.1)))))
    teacher = tool.with_frozen_teacher(config, 'plain.py').default_hooks.distill.teacher
    assert teacher == dict(type='kd_plugins.FrozenTeacher', config='plain.py', checkpoint=None)


@pytest.mark.slow
def test_a_table_with_a_row_for_each_config_and_checkout(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip('mmdet')
    configs = ['--baseline', 'configs/gfl/gfl_r18_bccd.py', '--configs', 'configs/gfl/gfl_r18_bccd_ema-ld.py']
    options = ['--frozen', '--generated', '--rounds', '1', '--steps', '1', '--cfg-options', *SMALL]
    assert tool.main([str(ROOT), *configs, *options]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ['config', 'checkout', 'time', 'CPU', 'time', 'memory']
    names = [row.split(ROOT.name)[0].strip() for row in rows]
    assert names == ['gfl_r18_bccd_ema-ld', 'frozen teacher']
    assert all(float(row.split()[-1]) > 1.0 for row in rows)


@pytest.mark.slow
def test_an_error_names_the_checkout() -> None:
    with pytest.raises(SystemExit, match=rf"error: {ROOT}: .*'nowhere.py'"):
        tool.main([str(ROOT), '--baseline', 'nowhere.py', '--configs', 'nowhere.py', '--rounds', '1'])
