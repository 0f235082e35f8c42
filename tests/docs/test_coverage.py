"""Every public name is in the documentation, and what the pages say of the code is true."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.hooks import DistillHook, FisherHook
from kd_plugins.pseudo_labels import PseudoLabels
from kd_plugins.views import CutMix, PhotometricView, TransformView

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path for path in (ROOT / 'docs').rglob('*.md') if '_build' not in path.parts)
WRITTEN = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', ROOT / 'CHANGELOG.md', *PAGES]
SHOWING = [*WRITTEN, *sorted((ROOT / 'configs').rglob('README.md'))]
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
        for argument, parameter in inspect.signature(getattr(module, name)).parameters.items():
            if argument == 'key':
                continue  # it comes from the hook, never from a config
            row = re.search(rf'^\| `{argument}` \| (.*?) \|', text, re.MULTILINE)
            assert row, f'{page.name} does not explain {argument}'
            shown = re.match('`(.*?)`', row[1])  # other defaults, such as "required", are words
            assert not shown or ast.literal_eval(shown[1]) == parameter.default, f'{page.name}: {argument}'


@pytest.mark.parametrize(
    ('page', 'kind'),
    [
        ('concepts.md', DistillHook),
        ('student_view.md', PhotometricView),
        ('student_view.md', TransformView),
        ('student_view.md', CutMix),
        ('pseudo_labels.md', PseudoLabels),
        ('distillers/anchors.md', FisherHook),
    ],
)
def test_settings_are_in_a_table(page: str, kind: type) -> None:
    text = (ROOT / 'docs' / page).read_text(encoding='utf-8')
    cells = ' '.join(re.findall(r'^\| (`.*?`) \|', text, re.MULTILINE))
    settings = inspect.signature(kind).parameters.keys() - {'key'}
    assert [setting for setting in settings if f'`{setting}`' not in cells and f'`{setting}` is ' not in text] == []


@pytest.mark.parametrize('path', SHOWING, ids=ident)
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


# Name of a part that a page shows alone to the hook around it; a teacher and unlabelled images are there for all.
PARTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    'distillers': lambda part: {'distillers': part},
    'student_view': lambda part: {'student_view': part},
    'weight': lambda part: {'distillers': {'scores': {**SCORES, 'weight': part}}},
    'adapter': lambda part: {'distillers': {'maps': {**MAPS, 'adapter': part}}},
    'task_weight': lambda part: {'task_weight': part},
}
SCORES = {'type': 'kd_plugins.LogitDistiller', 'on': 'unlabelled'}
MAPS = {'type': 'kd_plugins.FeatureDistiller', 'reduction': 'sum'}
FOLDER = {'batch_size': 2, 'dataset': {'type': 'kd_plugins.ImageFolder', 'data_root': 'data/unlabelled/'}}


def shown_parts() -> Iterator[tuple[str, str, Any]]:
    """Yield page, name and value of the parts of a hook that pages show without the hook."""
    for path in SHOWING:
        for code in python_blocks(path):
            for node in ast.parse(code).body:
                if isinstance(node, ast.Assign) and (name := ast.unparse(node.targets[0])) in PARTS:
                    yield ident(path), name, eval(ast.unparse(node.value))


def test_parts_of_hooks_build() -> None:
    parts = list(shown_parts())
    assert {name for _, name, _ in parts} == set(PARTS)
    for page, name, part in parts:
        config = {'distillers': {}, **PARTS[name](part)}
        named = {one.get('source', 'auto') for one in config['distillers'].values()} - {'auto', 'student'}
        config['distillers'] = {
            **config['distillers'],
            'other': SCORES if not named else {**SCORES, 'source': min(named)},
        }
        teachers = {one: {'type': 'kd_plugins.EMATeacher'} for one in named or {'average'}}
        hook = DistillHook(**config, teachers=teachers, unlabelled={'dataloader': FOLDER})
        assert hook.distillers, page


@pytest.mark.parametrize('path', WRITTEN, ids=ident)
def test_doctests_and_named_files(path: Path) -> None:
    text = path.read_text(encoding='utf-8')
    session = '\n'.join(re.findall(r'^```pycon\n(.*?)^```', text, re.DOTALL | re.MULTILINE))
    parsed = doctest.DocTestParser().get_doctest(session, {}, path.name, str(path), 0)
    assert doctest.DocTestRunner().run(parsed).failed == 0
    if path.name == 'CHANGELOG.md':
        return  # it names files that are gone
    for named in re.findall(r'\b((?:tools|configs|tests)/[\w./-]+\.(?:py|sh))\b', text):
        if 'NAME' in named or 'METHOD' in named:
            continue
        assert (ROOT / named).exists(), f'{named} does not exist'
