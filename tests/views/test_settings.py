from __future__ import annotations

import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.views.settings import PRESETS, Erasing, Settings, read_settings


def test_presets() -> None:
    unbiased = PRESETS['unbiased_teacher']
    assert [one.prob for one in unbiased.erasings] == [0.7, 0.5, 0.3]
    assert not PRESETS['light'].erasings and PRESETS['light'].blur_prob == 0
    assert PRESETS['unimatch'].hue == 0.25 and not PRESETS['unimatch'].erasings


def test_overrides_replace_settings() -> None:
    erasing = dict(prob=1, area=[0.1, 0.2], ratio=(1, 2))
    settings = read_settings('light', dict(hue=0.2, blur_prob=0.3, erasings=[erasing], grey_prob=None), 'student_view')
    assert settings == Settings(hue=0.2, blur_prob=0.3, erasings=(Erasing(1.0, (0.1, 0.2), (1.0, 2.0)),))
    assert read_settings('unbiased_teacher', dict(erasings=[]), 'student_view').erasings == ()


@pytest.mark.parametrize(
    'overrides, message',
    [
        (dict(hue=0.6), r'student_view\.hue is 0\.6; it must be at most 0\.5, such as 0\.1'),
        (dict(grey_prob=1.5), r'student_view\.grey_prob is 1\.5; it must be at most 1, such as 0\.5'),
        (dict(min_easy=-1), r'student_view\.min_easy is -1; it must be a finite number >= 0, such as 0\.5'),
        (dict(contrast=float('nan')), r'student_view\.contrast is nan; it must be a finite number >= 0, such as 0\.4'),
        (
            dict(blur_sigma=(2, 1)),
            r'student_view\.blur_sigma is \(2, 1\); it must be two numbers in order, from 0 to 100, such as \(0\.1, 2',
        ),
        (
            dict(erasings=dict(prob=1)),
            r"student_view\.erasings is \{'prob': 1\}; give a list such as \[dict\(prob=0\.5",
        ),
        (
            dict(erasings=[dict(prob=1, area=(0, 0), ratio=(1, 2))]),
            r'student_view\.erasings\[0\]\.area is \(0, 0\), a share that no rectangle inside an image has; give two',
        ),
        (dict(erasings=[0.5]), r'student_view\.erasings\[0\] is 0\.5; give dict\(prob=0\.5, area='),
        (
            dict(erasings=[dict(prob=1, area=(0, 1), ration=(1, 2))]),
            r"student_view\.erasings\[0\] has no setting 'ration'; nearest: 'ratio'",
        ),
        (dict(erasings=[dict(prob=1, area=(0, 1))]), r'student_view\.erasings\[0\] has no ratio; give dict\('),
        (
            dict(erasings=[dict(prob=1, area=(0, 2), ratio=(1, 2))]),
            r'student_view\.erasings\[0\]\.area is \(0, 2\); it must be two numbers in order, from 0 to 1',
        ),
        (
            dict(erasings=[dict(prob=1, area=(0, 1), ratio=(0, 2))]),
            r'student_view\.erasings\[0\]\.ratio is \(0, 2\); it must be two numbers in order, greater than 0',
        ),
    ],
)
def test_errors(overrides, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_settings('unbiased_teacher', overrides, 'student_view')


def test_unknown_preset() -> None:
    with pytest.raises(ConfigError, match=r"student_view\.preset is 'unimach'; nearest: 'unimatch'"):
        read_settings('unimach', {}, 'student_view')
