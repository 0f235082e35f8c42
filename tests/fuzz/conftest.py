"""Report of the fuzz cases at the end of a run."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

NEEDED = ('hypothesis', 'mmdet', 'mmpose', 'mmseg', 'mmdet3d', 'monai')
"""Packages without which the shipped configs cannot be built, or changed."""
collect_ignore_glob = [] if all(map(find_spec, NEEDED)) else ['*.py']


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the count of cases, and in a run by hand the failures by kind."""
    if not collect_ignore_glob:
        from .judging import TALLY

        for line in TALLY.lines() if TALLY.cases else []:
            terminalreporter.write_line(line)


def pytest_sessionfinish(session: Any) -> None:
    """Let a run by hand fail if a case has failed."""
    if not collect_ignore_glob:
        from .judging import CASES, TALLY

        if CASES and TALLY.failures:
            session.exitstatus = 1
