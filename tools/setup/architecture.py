"""Write the packages and their imports into docs/architecture.md: ``make architecture``.

Layers come from the import contract in pyproject.toml, sentences from the docstrings, imports from the source.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import grimp
from importlinter.api import read_configuration

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = 'kd_plugins'
PAGE = ROOT / 'docs' / 'architecture.md'
BEGIN, END = '<!-- packages:begin (make architecture) -->', '<!-- packages:end -->'


def read_layers() -> list[list[str]]:
    """Return the packages of each layer, from the top to the bottom, as the import contract names them."""
    contracts = read_configuration(str(ROOT / 'pyproject.toml'))['contracts_options']
    (layers,) = (contract['layers'] for contract in contracts if contract['type'] == 'layers')
    return [re.findall(r'\w+', layer) for layer in layers]


def rooms(graph: grimp.ImportGraph, package: str) -> list[str]:
    """Return a package and the packages inside it, by dotted path below :data:`PACKAGE`."""
    inside = sorted(
        name
        for name in graph.find_descendants(f'{PACKAGE}.{package}')
        if (ROOT / name.replace('.', '/') / '__init__.py').is_file()
    )
    return [package, *(name.removeprefix(f'{PACKAGE}.') for name in inside)]


def first_sentence(room: str) -> str:
    """Return the first sentence of a package's or module's docstring as Markdown.

    Raises:
        ValueError: If there is no docstring, or its first line does not end a sentence.
    """
    path = ROOT / PACKAGE / room.replace('.', '/')
    file = path / '__init__.py' if path.is_dir() else path.with_suffix('.py')
    line = (ast.get_docstring(ast.parse(file.read_text(encoding='utf-8'))) or '').partition('\n')[0]
    if not line.endswith('.'):
        raise ValueError(f"{file}: the first line of the docstring must be one sentence, and is '{line}'")
    return line.replace('``', '`').replace('|', r'\|')


def imports(graph: grimp.ImportGraph, room: str) -> list[str]:
    """Return what the modules of a room import outside it: packages of the first level, or rooms beside it."""
    name = f'{PACKAGE}.{room}'
    modules = {name, *graph.find_descendants(name)}
    imported = {other for module in modules for other in graph.find_modules_directly_imported_by(module)} - modules
    parent = room.rpartition('.')[0]
    return sorted({_label(other.removeprefix(f'{PACKAGE}.'), parent) for other in imported if other != PACKAGE})


def _label(module: str, parent: str) -> str:
    """Return the first level of a module; inside ``parent``, one level more than its own."""
    if parent and module.startswith(f'{parent}.'):
        return '.'.join(module.split('.')[: parent.count('.') + 2])
    return module.partition('.')[0]


def figure(layers: Sequence[Sequence[str]]) -> Iterator[str]:
    """Draw the layers as text, the top one first."""
    rows = ['   '.join(layer) for layer in layers]
    width = max(map(len, rows)) + 2
    yield f'┌{"─" * width}┐'
    for number, row in enumerate(rows):
        if number:
            yield f'├{"─" * width}┤'
        yield f'│{row:^{width}}│'
    yield f'└{"─" * width}┘'


def table(graph: grimp.ImportGraph, layers: Sequence[Sequence[str]]) -> Iterator[str]:
    """Return the lines of the table of packages."""
    yield '| package | what it holds | imports |'
    yield '|---|---|---|'
    for layer in layers:
        for package in layer:
            for room in rooms(graph, package):
                imported = ', '.join(f'`{name}`' for name in imports(graph, room))
                yield f'| `{room}` | {first_sentence(room)} | {imported or "nothing"} |'


def generated() -> str:
    """Return the generated part of the page."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    layers = read_layers()
    layers = [[name for name in layer if f'{PACKAGE}.{name}' in graph.modules] for layer in layers]
    shown = ['```text', *figure([layer for layer in layers if layer]), '```', '', *table(graph, layers)]
    return '\n'.join(shown) + '\n'


def updated(page: str) -> str:
    """Return a page with its generated part renewed.

    Args:
        page: Markdown with the two marks :data:`BEGIN` and :data:`END`, one line each.
    """
    before, _, rest = page.partition(BEGIN + '\n')
    after = rest.partition(END)[2]
    return f'{before}{BEGIN}\n{generated()}{END}{after}'


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page; with ``--check``, only report whether it is up to date."""
    arguments = sys.argv[1:] if argv is None else argv
    page = PAGE.read_text(encoding='utf-8')
    new = updated(page)
    if '--check' not in arguments:
        PAGE.write_text(new, encoding='utf-8')
    elif new != page:
        print(f'{PAGE.relative_to(ROOT)} is out of date; `make architecture` writes it', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
