"""The check of suggested entries, on one small config."""

from importlib import import_module

import pytest

check_suggestions = import_module('tools.setup.check_suggestions')


@pytest.mark.slow
def test_entries_are_counted_and_a_failure_is_named(monkeypatch, capsys):
    pytest.importorskip('mmdet')
    monkeypatch.setattr(
        check_suggestions, 'BASES', {'kd_plugins::gfl/gfl_r18w32_bccd.py': None, 'mmdet::no/such.py': None}
    )
    assert check_suggestions.main(['such', 'gfl_r18w32']) == 1
    out = capsys.readouterr().out
    assert 'FAIL  mmdet::no/such.py' in out and '1 entries failed' in out
    assert 'kd_plugins::gfl/gfl_r18w32_bccd.py  none' in out


def test_a_word_that_no_path_holds_fails():
    assert check_suggestions.main(['no such config']) == 1
