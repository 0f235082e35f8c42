"""Hooks of this package on models that ``torch.compile`` has compiled."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, cast


def forget_compiled() -> None:
    """Drop what ``torch.compile`` has compiled, because it does not notice new hooks of a module."""
    compiler = sys.modules.get('torch._dynamo')
    if compiler is not None:
        compiler.reset()


def uncompiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that ``torch.compile`` runs as it is, where something in this process is compiled.

    Importing the compiler takes seconds, so it is not imported here.

    Args:
        function: The function.
    """
    compiler = sys.modules.get('torch._dynamo')
    return function if compiler is None else cast(Callable[..., Any], compiler.disable(function))
