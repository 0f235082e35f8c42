"""``kd_plugins show label-guide``: what it refuses before a model is built."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip('mmdet')
from kd_plugins.commands import show_label_guide
from tests.visualization.trained import CONFIGS


@pytest.mark.parametrize(
    ('config', 'arguments', 'sentence'),
    [
        (
            'label_guided/gfl_r18w32_bccd_lgd',
            ['--out', 'guide.pgn'],
            "--out: 'guide.pgn' does not end in a known format",
        ),
        (
            'label_guided/gfl_r18w32_bccd_lgd',
            ['--distiller', 'gide'],
            "has no LabelGuidedDistiller named 'gide'; nearest",
        ),
        ('gfl/gfl_r18_bccd', [], "default_hooks.distill.distillers has no 'kd_plugins.LabelGuidedDistiller'"),
    ],
)
def test_refusals(run: Any, config: str, arguments: list[str], sentence: str) -> None:
    done = run(show_label_guide, CONFIGS / f'{config}.py', *arguments)
    assert done.status == 2 and sentence in done.error
