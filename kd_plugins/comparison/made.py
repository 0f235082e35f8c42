"""Config of a control, and the functions that make one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config, ConfigDict


@dataclass
class Made:
    """Config of a control.

    Attributes:
        config: The config, complete.
        text: What it is, after the name of the arm.
        remarks: One sentence for each thing to know before believing it.
    """

    config: Config
    text: str
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Control:
    """A kind of control.

    Attributes:
        make: Returns the control of a baseline and a distilled config; the third argument is the folder of files that
            the config names.
        changes: Which of both configs it changes: ``'baseline'`` or ``'distilled'``.
    """

    make: Callable[[Config, Config, Path], Made]
    changes: str


def import_as(config: Config, other: Config) -> None:
    """Let a config import the modules that another one imports, because it takes types from there."""
    modules: list[str] = []
    for source in (config, other):
        listed = (source.get('custom_imports') or {}).get('imports') or []
        modules += [listed] if isinstance(listed, str) else list(listed)
    if modules:
        config.custom_imports = ConfigDict(imports=list(dict.fromkeys(modules)), allow_failed_imports=False)
