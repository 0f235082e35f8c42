"""Empty figures, and a matplotlib that is missing or broken."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from kd_plugins.errors import MissingDependencyError
from kd_plugins.utils.figures import new_figure


def test_the_size_is_in_inches() -> None:
    pytest.importorskip('matplotlib')
    assert new_figure(2, 1).get_size_inches().tolist() == [2.0, 1.0]


def test_missing_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    with pytest.raises(MissingDependencyError, match="pictures need 'matplotlib' .extra 'demo'."):
        new_figure(1, 1)


def test_a_matplotlib_that_does_not_work_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('matplotlib')
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', ModuleType('matplotlib.figure'))
    with pytest.raises(MissingDependencyError, match="and matplotlib cannot be imported .cannot import name 'Figure'"):
        new_figure(1, 1)
