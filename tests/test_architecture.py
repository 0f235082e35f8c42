"""Rules of docs/architecture.md that import-linter has no contract for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.imports import ROOT, Imported, imports_of, package_of, python_files

WITHOUT_TESTS = {
    'kd_plugins/version.py': 'one constant, which the build reads',
    'kd_plugins/__main__.py': 'one call; tests/commands/test_dispatch.py starts it',
}
"""Modules without a test module of their own, and why."""


def private(imported: Imported) -> bool:
    return any(part.startswith('_') and not part.startswith('__') for part in imported.path)


def crossing(file: Path, imported: Imported) -> bool:
    """Whether a file lies outside the package whose underscore module or name it imports."""
    owner = imported.path
    first = next(index for index, part in enumerate(owner) if part.startswith('_'))
    owner = owner[:first]
    if (ROOT / '/'.join(owner)).with_suffix('.py').is_file():
        owner = owner[:-1]
    return package_of(file)[: len(owner)] != owner


def ours(folder: str) -> Iterator[tuple[Path, Imported]]:
    for file in python_files(folder):
        for imported in imports_of(file):
            if imported.module.partition('.')[0] in ('kd_plugins', 'tests', 'tools'):
                yield file, imported


def place(file: Path, imported: Imported) -> str:
    return f'{file.relative_to(ROOT)}:{imported.line}: {".".join(imported.path)}'


def test_no_underscore_crosses_a_package() -> None:
    wrong = [
        place(file, imported)
        for folder in ('kd_plugins', 'tools', 'tests', 'docs/examples')
        for file, imported in ours(folder)
        if private(imported) and crossing(file, imported)
    ]
    assert not wrong, wrong


def test_test_modules_import_helpers_only() -> None:
    wrong = [
        place(file, imported)
        for file, imported in ours('tests')
        if any(part.startswith('test_') for part in imported.module.split('.'))
        or (imported.module.startswith('tests') and imported.name.startswith('test_'))
    ]
    assert not wrong, wrong


def test_every_module_has_its_test_module() -> None:
    wrong = []
    for file in python_files('kd_plugins'):
        if file.name == '__init__.py':
            continue
        path = file.relative_to(ROOT).as_posix()
        mirror = ROOT / 'tests' / Path(path).relative_to('kd_plugins').with_name(f'test_{file.name}')
        if mirror.is_file() == (path in WITHOUT_TESTS):
            wrong.append(path)
    assert not wrong, wrong
    assert all((ROOT / path).is_file() for path in WITHOUT_TESTS)


def test_the_reader_of_imports(tmp_path: Path) -> None:
    """A rule that sees no import would hold for every file."""
    names = {imported.path[-1] for imported in imports_of(ROOT / 'kd_plugins' / 'losses' / 'level_kl.py')}
    assert {'to_float', 'MODELS', 'softmax_kl'} <= names
    modules = {imported.module for imported in imports_of(ROOT / 'kd_plugins' / 'losses' / 'level_kl.py')}
    assert {'kd_plugins.ops.reduction', 'kd_plugins.losses.logit'} <= modules
    secret = Imported('kd_plugins.losses.logit', '_secret', 1)
    assert private(secret) and not crossing(ROOT / 'kd_plugins' / 'losses' / 'level_kl.py', secret)
    assert crossing(ROOT / 'kd_plugins' / 'hooks' / 'session.py', secret)
    assert private(Imported('kd_plugins.losses._hidden', 'name', 1))
