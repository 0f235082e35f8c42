"""Hooks on compiled models, without importing the compiler where nothing is compiled."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from kd_plugins.hooks.compiled import forget_compiled, uncompiled


def function() -> None: ...


def test_nothing_is_imported() -> None:
    code = (
        'import sys; from kd_plugins.hooks.compiled import forget_compiled, uncompiled; before = set(sys.modules); '
        'sys.modules.pop("torch._dynamo", None); forget_compiled(); assert uncompiled(print) is print; '
        'assert "torch._dynamo" not in sys.modules and set(sys.modules) <= before'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


def test_the_compiler_forgets_and_leaves_a_function_out(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    compiler = SimpleNamespace(reset=lambda: calls.append('reset'), disable=lambda one: ('disabled', one))
    monkeypatch.setitem(sys.modules, 'torch._dynamo', compiler)
    forget_compiled()
    assert calls == ['reset'] and uncompiled(function) == ('disabled', function)
