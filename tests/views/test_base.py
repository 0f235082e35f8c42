from __future__ import annotations

import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.views.base import BaseView


def test_on_names_passes() -> None:
    assert BaseView().on == ('unlabelled',)
    assert BaseView('labelled').on == ('labelled',)
    assert BaseView(['labelled', 'unlabelled']).on == ('labelled', 'unlabelled')


@pytest.mark.parametrize(
    'on, message',
    [
        ('unlabeled', r"student_view\.on is 'unlabeled'; nearest: 'unlabelled', 'labelled'"),
        ((), r"student_view\.on is \(\); valid: 'labelled', 'unlabelled'"),
    ],
)
def test_unknown_pass(on, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BaseView(on)
