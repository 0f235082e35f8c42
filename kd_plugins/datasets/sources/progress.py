"""Progress of a download: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Show = Callable[[int, int | None], None]
MEGABYTE = 1_000_000
PERCENT = 10
STEP = 10 * MEGABYTE


@contextmanager
def show_progress(name: str) -> Iterator[Show]:
    """Give a function of the bytes that are done and the bytes in all (``None`` if the server does not tell).

    On a terminal it draws a bar with rich, where that is installed. Elsewhere it prints a line every ten percent, or
    every ten megabytes where the size is unknown.

    Args:
        name: The data set's.
    """
    if sys.stdout.isatty():
        try:
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
        except ImportError:
            pass
        else:
            columns = (TextColumn('{task.description}'), BarColumn(40), DownloadColumn(), TimeRemainingColumn())
            with Progress(*columns) as progress:
                task = progress.add_task(name, total=None)
                yield lambda done, total: progress.update(task, completed=done, total=total)
            return
    yield line_printer(name)


def line_printer(name: str) -> Show:
    """Return a function that prints a line per step of progress.

    Args:
        name: The data set's.

    >>> show = line_printer('bccd')
    >>> for done in (0, 100, 550_000, 2_000_000):
    ...     show(done, 2_000_000)
    bccd: 0 % of 2.0 MB
    bccd: 20 % of 2.0 MB
    bccd: 100 % of 2.0 MB
    """
    last = -1

    def show(done: int, total: int | None) -> None:
        nonlocal last
        step = done * 100 // total // PERCENT if total else done // STEP
        if step == last:
            return
        last = step
        if total:
            print(f'{name}: {step * PERCENT} % of {total / MEGABYTE:.1f} MB', flush=True)
        else:
            print(f'{name}: {done / MEGABYTE:.1f} MB', flush=True)

    return show


__all__ = ['Show', 'show_progress']
