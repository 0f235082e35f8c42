"""``kd_plugins data digits``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('sklearn')
from kd_plugins.commands import make_digits


def test_a_small_data_set_twice(run: Any, tmp_path: Path) -> None:
    options = ('--num-train', 2, '--num-val', 1, '--size', 96)
    first = run(make_digits, tmp_path, *options)
    assert first.status == 0 and 'made in' in first.out, first.err
    annotations = json.loads((tmp_path / 'annotations' / 'train.json').read_text())
    assert len(annotations['images']) == 2 and annotations['images'][0]['width'] == 96
    assert len(list((tmp_path / 'val').iterdir())) == 1
    again = run(make_digits, tmp_path, *options)
    assert again.out.count('already there') == 2


def test_a_size_that_is_too_small_is_one_sentence(run: Any, tmp_path: Path) -> None:
    outcome = run(make_digits, tmp_path, '--size', 4)
    assert outcome.status == 2 and 'images of 4 pixels' in outcome.error
