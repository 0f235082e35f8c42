"""``kd_plugins overhead`` on MMDetection's GFL and generated images."""

import json
from pathlib import Path

import pytest

from kd_plugins.commands import overhead
from kd_plugins.errors import ConfigError
from kd_plugins.profiling.timing import Cost

pytest.importorskip('mmdet')
CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'gfl'
# A network that runs in a blink.
SMALL = ['model.backbone.base_channels=8', 'model.neck.in_channels=[8,16,32,64]']


def test_ratios_of_interleaved_steps_are_printed(run, tmp_path):
    out = tmp_path / 'numbers.json'
    arguments = [CONFIGS / 'gfl_r18_bccd_ema-ld.py', '--baseline', CONFIGS / 'gfl_r18_bccd.py', '--generated']
    arguments += ['--steps', '2', '--warmup', '1', '--out', out, '--cfg-options', *SMALL]
    outcome = run(overhead, *arguments)
    assert outcome.status == 0 and 'peak memory' in outcome.out
    numbers = json.loads(out.read_text())
    assert numbers['distilled_step_s'] > 0
    # The teacher's weights are held, and its forward pass adds nothing that the backward pass needs.
    assert 1.0 < numbers['memory_ratio'] < 2.0


def test_no_step_is_one_sentence(run):
    outcome = run(overhead, 'a.py', '--baseline', 'b.py', '--steps', '0')
    assert outcome.status == 2
    assert outcome.error == 'error: --steps is 0 and --warmup 3; both must be at least 1'


def test_the_median_is_robust_and_pairs_are_kept():
    numbers = overhead.summarize(Cost([1.2, 9.0, 1.2], peak_bytes=12), Cost([1.0, 6.0, 1.0], peak_bytes=10))
    assert numbers['time_ratio_of_medians'] == pytest.approx(1.2)
    assert numbers['time_median_of_ratios'] == pytest.approx(1.2)
    assert numbers['memory_ratio'] == pytest.approx(1.2)


@pytest.mark.parametrize(
    ('words', 'values'),
    [
        (['--cfg-options', 'x=2'], [2, 2]),
        (['--cfg-options', 'x=2', '--baseline-cfg-options', 'x=3'], [3, 2]),
        (['--baseline-cfg-options', '--cfg-options', 'x=2'], [1, 2]),
    ],
)
def test_each_config_can_have_its_options(run, tmp_path, monkeypatch, words, values):
    def seen(configs, generated):
        raise ConfigError(f'x is {[config.x for config in configs]}')

    monkeypatch.setattr(overhead, 'needs_generated', seen)
    for name in ('plain', 'distilled'):
        (tmp_path / f'{name}.py').write_text("default_scope = 'mmengine'\nx = 1\n")
    outcome = run(overhead, tmp_path / 'distilled.py', '--baseline', tmp_path / 'plain.py', *words)
    assert outcome.error == f'error: x is {values}'


def test_an_option_without_a_value_names_its_argument(run):
    outcome = run(overhead, 'a.py', '--baseline', 'b.py', '--baseline-cfg-options', 'x')
    assert outcome.status == 2 and "--baseline-cfg-options: 'x' has no '='" in outcome.err
