"""The shipped configs, read once in a process."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mmengine.config import Config

from kd_plugins.config.config_files import files_of

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@cache
def shipped() -> tuple[str, ...]:
    """Return the paths below ``configs`` of all shipped configs."""
    paths = (path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)
    return tuple(sorted(path.relative_to(CONFIGS).as_posix() for path in paths))


@cache
def shipped_config(name: str) -> Config:
    """Return a shipped config; do not change it."""
    return Config.fromfile(CONFIGS / name)


@cache
def holding(text: str) -> tuple[str, ...]:
    """Return the shipped configs that hold a text, themselves or in a base that is shipped.

    To read all of them as configs takes 20 seconds, in every process of the tests.
    """
    return tuple(name for name in shipped() if _holds(CONFIGS / name, text))


def distilling() -> tuple[str, ...]:
    """Return the shipped configs that have a distill entry."""
    return holding('kd_plugins.DistillHook')


def _holds(path: Path, wanted: str) -> bool:
    return any(wanted in file.read_text(encoding='utf-8') for file in files_of(path, CONFIGS, bases_only=True))
