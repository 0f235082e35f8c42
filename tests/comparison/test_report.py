import numpy as np
import pytest

from kd_plugins.comparison.report import band, compare, markdown, plot_curves, table_of, verdict
from kd_plugins.errors import ConfigError
from kd_plugins.runner.run_log import RunLog

AP = 'coco/bbox_mAP'


def log(*values, rare=0.1):
    return RunLog(
        metrics={
            'coco/Rare_precision': dict.fromkeys(range(1, len(values) + 1), rare),
            AP: dict(enumerate(values, start=1)),
        }
    )


def logs():
    return {
        'plain': {0: log(0.1, 0.50), 1: log(0.1, 0.52), 2: log(0.6, 0.54), 9: log(0.1, 0.9)},
        'taught': {0: log(0.1, 0.52), 1: log(0.1, 0.55), 2: log(0.1, 0.55)},
    }


def test_only_seeds_of_all_arms_count_and_the_last_epoch_is_compared():
    result = compare(logs(), AP)
    assert result['seeds'] == [0, 1, 2]
    assert result['arms']['plain'][AP]['last']['values'] == [0.50, 0.52, 0.54]
    assert result['arms']['taught'][AP]['difference']['mean'] == pytest.approx(0.02)


def test_the_best_epoch_is_reported_beside_the_last():
    assert compare(logs(), AP)['arms']['plain'][AP]['best']['values'] == [0.50, 0.52, 0.6]


def test_the_main_metric_heads_the_table_and_classes_follow():
    headers, rows = table_of(compare(logs(), AP), 'taught')
    assert headers[:3] == ['metric', 'baseline', 'taught']
    assert [row[0] for row in rows] == [AP, 'AP of Rare']
    assert rows[0][1:4] == ['0.5200 ± 0.0200', '0.5400 ± 0.0173', '+0.0200']


def test_the_verdict_says_whether_chance_explains_it():
    assert '95 % interval excludes 0' not in verdict(compare(logs(), AP), 'taught')
    clear = {'plain': {s: log(0.5 + s / 1000) for s in range(4)}, 'taught': {s: log(0.6 + s / 900) for s in range(4)}}
    assert 'better' in verdict(compare(clear, AP), 'taught')
    assert 'excludes 0' in verdict(compare(clear, AP), 'taught')


def test_tested_values_replace_the_last_validation():
    tested = {arm: {seed: {AP: 0.25} for seed in (0, 1, 2)} for arm in ('plain', 'taught')}
    result = compare(logs(), AP, tested)
    assert result['arms']['plain'][AP]['last']['values'] == [0.25] * 3
    assert result['source'] == 'test of the last checkpoint'
    headers, rows = table_of(result, 'taught')
    assert headers[-2:] == ['baseline, best epoch in validation', 'taught, best epoch in validation']
    assert rows[0][1] == '0.2500 ± 0.0000' and rows[0][-2] == '0.5400 ± 0.0529'
    assert table_of(compare(logs(), AP), 'taught')[0][-2:] == ['baseline, best epoch', 'taught, best epoch']


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(ConfigError, match="nearest: 'coco/bbox_mAP'"):
        compare(logs(), 'coco/bbox_mapp')


def test_no_common_seed_is_a_sentence():
    with pytest.raises(ConfigError, match='no seed is finished in the baseline and another arm'):
        compare({'plain': {0: log(0.5)}, 'taught': {1: log(0.5)}}, AP)


def test_complete_contrasts_are_reported_without_the_baseline():
    """A baseline that failed must not hide the pairs of other arms that are complete."""
    runs = {'plain': {}, **dict(zip(('old', 'new'), logs().values()))}
    result = compare(runs, AP, against=['old'])
    assert result['baseline'] == 'old' and list(result['arms']) == ['old', 'new'] and result['against'] == {}
    assert 'new is better than old by 0.0200' in verdict(result, 'new')
    with pytest.raises(ConfigError, match='no seed is finished in the baseline'):
        compare(runs, AP)


def test_equal_runs_say_nothing_about_the_power():
    same = compare({arm: {seed: log(0.5 + seed) for seed in range(3)} for arm in ('plain', 'taught')}, AP)
    assert verdict(same, 'taught').endswith(
        'the differences are equal at all seeds, so their spread tells nothing about the power'
    )


def test_an_infinite_error_is_no_number_of_one_seed():
    runs = {'plain': {0: log(3.0), 1: log(4.0)}, 'taught': {0: log(float('inf')), 1: log(2.0)}}
    result = compare(runs, AP)
    assert 'cannot be compared with plain' in verdict(result, 'taught')
    assert table_of(result, 'taught')[1][0][2:5] == ['no number', 'no number', '']


def test_one_seed_gives_a_table_without_an_interval():
    result = compare({'plain': {0: log(0.5)}, 'taught': {0: log(0.6)}}, AP)
    assert table_of(result, 'taught')[1][0][4] == 'one seed'
    assert 'cannot show the effect of chance' in verdict(result, 'taught')


def test_the_page_holds_table_configs_and_picture():
    page = markdown(compare(logs(), AP), 'Title', {'plain': 'a.py', 'taught': 'b.py'}, 'curves.png')
    assert '| coco/bbox_mAP | 0.5200 ± 0.0200 |' in page
    assert '`b.py`' in page and '(curves.png)' in page


def test_band_takes_the_steps_that_all_runs_share():
    steps, mean, deviation = band([{1: 1.0, 2: 2.0}, {1: 3.0}])
    assert steps == [1]
    assert mean.tolist() == [2.0]
    assert deviation == pytest.approx(np.sqrt([2.0]))


def test_curves_are_written(tmp_path):
    pytest.importorskip('matplotlib')
    path = tmp_path / 'curves.png'
    plot_curves(logs(), [AP, 'coco/Rare_precision'], path)
    assert path.read_bytes().startswith(b'\x89PNG')
