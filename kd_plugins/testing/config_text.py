"""Text of configs without the layout that a reader would want."""

from __future__ import annotations

from typing import Any

from mmengine.config import config


def _as_it_is(text: str, *_: Any, **__: Any) -> tuple[str, bool]:
    return text, False


def leave_texts_as_they_are() -> None:
    """Let MMEngine write configs without yapf, to the end of the process.

    A runner logs its config and writes it to a file. The text is the same to a computer; laying it out takes a tenth of
    a second for a small config and more than a second for one of whole-body poses.
    """
    config.FormatCode = _as_it_is
