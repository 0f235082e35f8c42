"""Imports of a file, read from its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Imported(NamedTuple):
    """One imported name.

    Attributes:
        module: The absolute module of the statement.
        name: The name taken from it, ``''`` for a plain ``import``.
        line: Where the statement is.
    """

    module: str
    name: str
    line: int

    @property
    def path(self) -> list[str]:
        """The parts of module and name."""
        return [part for part in (*self.module.split('.'), self.name) if part]


def python_files(folder: str) -> list[Path]:
    """Return the Python files below a folder of the project."""
    return sorted((ROOT / folder).rglob('*.py'))


def package_of(file: Path) -> list[str]:
    """Return the dotted path of the package that a file belongs to, as parts."""
    return list(file.relative_to(ROOT).parent.parts)


def imports_of(file: Path) -> Iterator[Imported]:
    """Yield what a file imports, also inside functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Imported(alias.name, '', node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = package_of(file)
            base = base[: len(base) - node.level + 1] if node.level else []
            module = '.'.join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Imported(module, alias.name, node.lineno)
