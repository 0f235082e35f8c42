"""Files of a report; tests/commands/test_compare.py reads them from real log folders."""

import json
from pathlib import Path

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


@pytest.mark.parametrize('name', ['results.json', 'plain_seed_0.jsonl.gz', 'table.md'])
def test_an_interruption_leaves_the_file_of_before(tmp_path, monkeypatch, name):
    """The records in results.json and their logs stand for lost runs; a full disk must not cost them."""
    logs = {arm: {0: RunLog({'AP': {1: value}})} for arm, value in (('plain', 0.5), ('taught', 0.6))}
    result, configs = compare(logs, 'AP'), {'plain': 'a.py', 'taught': 'b.py'}
    write_report(tmp_path, result, logs, configs, [])
    (file,) = tmp_path.rglob(name)
    before, write = file.read_bytes(), Path.write_bytes

    def interrupted(path, data, **_):
        write(path, (data if isinstance(data, bytes) else data.encode())[: 5 if name in path.name else None])
        if name in path.name:
            raise OSError('No space left on device')

    for method in ('write_bytes', 'write_text'):
        monkeypatch.setattr(Path, method, interrupted)
    with pytest.raises(OSError, match='No space'):
        write_report(tmp_path, result, logs, configs, ['changed=1'])
    assert file.read_bytes() == before and not list(tmp_path.rglob('*.partial'))
