"""The matrix of versions: columns, counts, and the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.setup import matrix
from tools.setup.environment import Environment, InstallError
from tools.setup.install import STACKS

COLUMN = matrix.COLUMNS[0]


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace environments and tests; return the columns whose tests run."""
    names: list[str] = []

    def run_tests(env: Environment) -> dict[str, Any]:
        names.append(env.path.name)
        return {'passed': 5, 'failed': 0, 'skipped': 1, 'seconds': 2}

    monkeypatch.setattr(matrix, 'FOLDER', tmp_path / 'matrix')
    monkeypatch.setattr(matrix, 'prepare', lambda column: Environment(matrix.FOLDER / column.name))
    monkeypatch.setattr(matrix, 'versions', lambda env: {'Python': '3.11.7', 'torch': '2.0.0'})
    monkeypatch.setattr(matrix, 'run_tests', run_tests)
    return names


def test_a_column_that_passed_is_not_run_again(ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = matrix.measure(COLUMN, again=False)
    assert matrix.measure(COLUMN, again=False) == first and len(ran) == 1
    matrix.measure(COLUMN, again=True)
    monkeypatch.setattr(matrix, 'digest', lambda: 'other files')
    matrix.measure(COLUMN, again=False)
    monkeypatch.setattr(matrix, 'versions', lambda env: {'Python': '3.11.7', 'torch': '2.0.1'})
    matrix.measure(COLUMN, again=False)
    assert len(ran) == 4


def test_the_table_has_results_and_reasons(ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    matrix.measure(COLUMN, again=False)

    def refuse(column: matrix.Column) -> Environment:
        raise InstallError('MMCV could not be compiled; the end of the output:\n  x.h:5: error: C++20 is needed\n  bye')

    monkeypatch.setattr(matrix, 'prepare', refuse)
    assert 'failed' not in matrix.measure(matrix.COLUMNS[1], again=False)
    page = matrix.updated(f'before\n{matrix.BEGIN}\nold\n{matrix.END}\nafter\n')
    assert page.startswith(f'before\n{matrix.BEGIN}\n| date |') and page.endswith(f'{matrix.END}\nafter\n')
    assert '| 3.11.7 | 2.0.0 |' in page and ' | 5 | 0 | 1 | 2 |' in page and 'old' not in page
    assert f'| {matrix.COLUMNS[1].name}: x.h:5: error: C++20 is needed |' in page
    assert matrix.updated(page) == page


def test_a_failed_column_is_repeated_and_makes_the_call_fail(ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, 'PAGE', matrix.FOLDER.with_name('page.md'))
    matrix.PAGE.write_text(f'{matrix.BEGIN}\n{matrix.END}\n')
    assert matrix.main([COLUMN.name]) == 0
    record = matrix.FOLDER / f'{COLUMN.name}.json'
    record.write_text(json.dumps({**json.loads(record.read_text()), 'failed': 1}))
    assert matrix.main([COLUMN.name]) == 0 and len(ran) == 2
    monkeypatch.setattr(matrix, 'run_tests', lambda env: {'passed': 0, 'failed': 1, 'skipped': 0, 'seconds': 1})
    assert matrix.main(['--again', COLUMN.name]) == 1
    with pytest.raises(SystemExit):
        matrix.main(['torch-1.0'])


def test_columns_and_tests_exist() -> None:
    assert len({column.name for column in matrix.COLUMNS}) == len(matrix.COLUMNS)
    assert {column.stack for column in matrix.COLUMNS} == set(STACKS)
    assert all((matrix.ROOT / path).exists() for path in (*matrix.CORE, *matrix.SOURCES))


def test_the_lowest_torch_is_the_declared_one() -> None:
    declared = (matrix.ROOT / 'pyproject.toml').read_text(encoding='utf-8')
    assert f"'torch>={COLUMN.torch.partition('==')[2].removesuffix('.0')}'" in declared
