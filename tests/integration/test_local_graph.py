"""Local graph distillation on two gloo ranks with half the batch each, compared with one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('mmdet')
from tests.integration.halves import assert_equals_whole, train_share
from tests.ranks import on_two_ranks

# All locations are selected, because a choice between two almost equal values may differ between the runs.
GRAPH = dict(type='kd_plugins.LocalGraphDistiller', num_points=64, num_neighbours=4, channels=4, weight=0.5)


def train_half(work_dir: Path) -> dict[str, Any]:
    return train_share(work_dir / 'half', 2, {'graph': GRAPH})


@pytest.mark.slow
@pytest.mark.distributed
def test_two_halves_equal_the_whole(tmp_path: Path) -> None:
    whole = train_share(tmp_path / 'one', 4, {'graph': GRAPH})
    assert_equals_whole(on_two_ranks(tmp_path, train_half, tmp_path), whole)
