"""Files of a report; tests/commands/test_compare.py reads them from real log folders."""

import json

import pytest

from kd_plugins.comparison.folder import write_report
from kd_plugins.comparison.report import compare
from kd_plugins.runner.run_log import RunLog

pytest.importorskip('matplotlib')


def test_a_number_that_json_cannot_hold_becomes_null(tmp_path):
    logs = {arm: {0: RunLog({'AP': {1: value}})} for arm, value in (('plain', 0.5), ('taught', 0.6))}
    result = compare(logs, 'AP')
    write_report(tmp_path / 'out', result, logs, {'plain': 'a.py', 'taught': 'b.py'}, ['x=1'])
    written = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert written['arms']['taught']['AP']['last']['deviation'] is None  # one seed has no spread
    assert written['configs'] == {'plain': 'a.py', 'taught': 'b.py'} and written['cfg_options'] == ['x=1']
    assert (tmp_path / 'out' / 'table.md').read_text().startswith('# AP of plain, taught')
    assert len(list((tmp_path / 'out' / 'logs').iterdir())) == 2
