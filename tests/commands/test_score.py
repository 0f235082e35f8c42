"""What ``kd_plugins score`` prints and refuses, on generated images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kd_plugins.commands import score

pytest.importorskip('mmdet')
CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
STUDENT = CONFIGS / 'gfl' / 'gfl_r18w32_bccd.py'


@pytest.mark.slow
def test_a_row_for_each_teacher(run: Any) -> None:
    teachers = [CONFIGS / 'gfl' / 'gfl_r18_bccd.py', CONFIGS / 'dwpose' / 'rtmpose-t_lspet.py']
    status, out, err = run(score, STUDENT, teachers[0], '--generated', '--seeds', 0)
    assert status == 0, err
    (row,) = (line for line in out.splitlines() if 'gfl_r18_bccd.py' in line)
    relation, semantic, total, seeds = row.split()[-4:]
    assert seeds == '1' and float(total) == pytest.approx(float(relation) + float(semantic), abs=2e-4)
    assert float(relation) < 0 and float(semantic) < 0
    status, _, err = run(score, STUDENT, teachers[1], '--generated')
    assert status == 2 and "default_scope of the teacher is 'mmpose' and of the student 'mmdet'" in err
