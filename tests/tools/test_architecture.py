"""The generated part of docs/architecture.md follows the code."""

from __future__ import annotations

import pytest

pytest.importorskip('grimp')
import grimp

from tools.setup import architecture


@pytest.fixture(scope='module')
def graph() -> grimp.ImportGraph:
    return grimp.build_graph('kd_plugins', cache_dir=None)


def test_the_page_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert architecture.main(['--check']) == 0, capsys.readouterr().err


def test_an_old_page_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    page = f'before\n{architecture.BEGIN}\nold\n{architecture.END}\nafter\n'
    monkeypatch.setattr(architecture, 'generated', lambda: 'new\n')
    assert architecture.updated(page) == page.replace('old', 'new')


def test_imports_of_packages_and_of_the_folders_in_them(graph: grimp.ImportGraph) -> None:
    assert set(architecture.imports(graph, 'ops')) <= {'errors', 'utils'}
    assert {'losses', 'ops', 'utils'} <= set(architecture.imports(graph, 'distillers'))
    inside = architecture.imports(graph, 'distillers.local_graph')
    assert 'distillers.base' in inside and 'distillers.local_graph' not in inside


def test_layers_are_those_of_the_contract() -> None:
    layers = architecture.read_layers()
    assert layers[1] == ['commands'] and 'errors' in layers[-1]
    assert all(len(layer) >= 1 for layer in layers)
