"""Every public name is in the documentation, and what the pages say of the code is true."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.hooks import DistillHook

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path for path in (ROOT / 'docs').rglob('*.md') if '_build' not in path.parts)
WRITTEN = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', ROOT / 'CHANGELOG.md', *PAGES]
MODULES = ('adapters', 'schedules', 'structures', 'hooks', 'teachers', 'distillers', 'distillers.local_graph', 'losses')
MODULES += ('distillers.focal_global', 'distillers.label_guided', 'distillers.stage_class', 'head_loss', 'ops.map_norm')
MODULES += ('ops.boxes', 'ops.chunked_sum', 'ops.edge_bins', 'ops.reduction', 'ops.rotated_iou', 'visualization')
MODULES += ('models.backbones', 'models.volumetric', 'datasets', 'datasets.nifti', 'datasets.volume_transforms')
MODULES += ('evaluation', 'evaluation.volumetric', 'evaluation.grid', 'errors', 'views')
MODULES += ('ops.photometric', 'ops.rectangles', 'ops.gathering', 'pseudo_labels', 'pseudo_labels.mixture')
if find_spec('mmdet') is not None:
    MODULES += ('models.dfine', 'models.dfine.matching', 'models.batch_resize', 'datasets.detection_transforms')
BLOCK = re.compile(r'^( *)```python\n(.*?)^ *```', re.DOTALL | re.MULTILINE)


def ident(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def python_blocks(path: Path) -> list[str]:
    blocks = BLOCK.findall(path.read_text(encoding='utf-8'))
    return ['\n'.join(line.removeprefix(indent) for line in code.splitlines()) for indent, code in blocks]


def public_names(module: str) -> list[str]:
    """Return ``__all__``, or the functions and classes that a module defines without an underscore."""
    loaded = import_module(f'kd_plugins.{module}')
    own = (name for name, value in vars(loaded).items() if getattr(value, '__module__', None) == loaded.__name__)
    return sorted(getattr(loaded, '__all__', None) or (name for name in own if not name.startswith('_')))


def documented() -> dict[str, list[str]]:
    """Return the entries of docs/api.md: name to the modules that it is taken from."""
    entries: dict[str, list[str]] = {}
    module = ''
    text = (ROOT / 'docs' / 'api.md').read_text(encoding='utf-8')
    for kind, target in re.findall(r'^\.\. (currentmodule|auto\w+|py:data):: (\S+)$', text, re.MULTILINE):
        if kind == 'currentmodule':
            module = target
            continue
        owner, _, name = target.rpartition('.')
        entries.setdefault(name, []).append(owner or module)
    return entries


@pytest.mark.parametrize('module', MODULES)
def test_public_names_are_documented(module: str) -> None:
    entries = documented()
    loaded = import_module(f'kd_plugins.{module}')

    def shown(name: str) -> bool:
        owners = map(import_module, entries.get(name, []))
        return any(getattr(owner, name, None) is getattr(loaded, name) for owner in owners)

    lacking = [name for name in public_names(module) if not shown(name)]
    assert not lacking, f'docs/api.md lacks {lacking} of kd_plugins.{module}'


@pytest.mark.parametrize('kind', ['distillers', 'teachers'])
def test_every_method_has_its_page(kind: str) -> None:
    module = import_module(f'kd_plugins.{kind}')
    suffix = kind.removesuffix('s').capitalize()
    methods = [name for name in module.__all__ if name.endswith(suffix) and not name.startswith('Base')]
    assert methods
    for name in methods:
        page = ROOT / 'docs' / kind / f'{name.removesuffix(suffix).lower()}.md'
        text = page.read_text(encoding='utf-8')
        assert text.startswith(f'# {name}\n')
        # `key` comes from the hook, never from a config.
        arguments = inspect.signature(getattr(module, name)).parameters.keys() - {'key'}
        missing = [argument for argument in arguments if f'| `{argument}` |' not in text]
        assert not missing, f'{page.name} does not explain {missing}'


@pytest.mark.parametrize('path', WRITTEN, ids=ident)
def test_python_blocks_compile_and_hooks_build(path: Path) -> None:
    for code in python_blocks(path):
        tree = ast.parse(code)
        for node in tree.body:
            named = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'default_hooks'
            if not named:
                continue
            scope: dict[str, Any] = {}
            exec(compile(ast.Module([node], []), str(path), 'exec'), scope)
            config = dict(scope['default_hooks'].get('distill', {}))
            if 'AttentionDistiller' in code or config.pop('type', None) is None:
                continue  # run by test_examples.py; or a change to an inherited entry
            assert DistillHook(**config).distillers


@pytest.mark.parametrize('path', WRITTEN, ids=ident)
def test_doctests_and_links(path: Path) -> None:
    text = path.read_text(encoding='utf-8')
    session = '\n'.join(re.findall(r'^```pycon\n(.*?)^```', text, re.DOTALL | re.MULTILINE))
    parsed = doctest.DocTestParser().get_doctest(session, {}, path.name, str(path), 0)
    assert doctest.DocTestRunner().run(parsed).failed == 0
    for target in re.findall(r'\]\((?!http|#)([^)#]+)', text):
        assert (path.parent / target).exists(), f'{target} does not exist'
    if path.name == 'CHANGELOG.md':
        return  # it names files that are gone
    for named in re.findall(r'\b((?:tools|configs|tests)/[\w./-]+\.(?:py|sh))\b', text):
        if 'NAME' in named or 'METHOD' in named:
            continue
        assert (ROOT / named).exists(), f'{named} does not exist'
