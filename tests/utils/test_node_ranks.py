"""The first rank of a machine passes before the others."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kd_plugins.utils.node_ranks import first_on_node_first, is_first_on_node
from tests.ranks import on_two_ranks


def test_one_process_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    assert is_first_on_node()
    monkeypatch.setenv('LOCAL_RANK', '2')
    assert not is_first_on_node()
    with first_on_node_first():
        pass


def passes(fails: bool) -> float:
    """Return the time at which this rank passes; the first waits."""
    try:
        with first_on_node_first():
            if os.environ['LOCAL_RANK'] == '0':
                time.sleep(0.5)
            passed = time.time()
            if fails:
                raise OSError
    except OSError:
        pass
    return passed


@pytest.mark.parametrize('fails', [False, True])
def test_the_second_waits_for_the_first(tmp_path: Path, fails: bool) -> None:
    first, second = on_two_ranks(tmp_path, passes, fails)
    assert first <= second
