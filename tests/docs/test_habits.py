"""CONTRIBUTING, CITATION, templates, hooks and workflow agree with the gate."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from kd_plugins.version import __version__

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / 'Makefile').read_text(encoding='utf-8')
CONTRIBUTING = (ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8')


def parts_of_the_gate() -> list[str]:
    (parts,) = re.findall(r'^test: ([a-z ]+) ##', MAKEFILE, re.MULTILINE)
    (static,) = re.findall(r'^static: .*\n((?:\t.*\n)+)', MAKEFILE, re.MULTILINE)
    side_by_side = re.findall(r'\$\(MAKE\) --no-print-directory ([a-z]+)', static)
    # `complete` only installs.
    return [part for part in parts.split() if part != 'complete'] + side_by_side


def test_hooks_are_parts_of_the_gate() -> None:
    config = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text(encoding='utf-8'))
    entries = [hook['entry'] for repository in config['repos'] for hook in repository['hooks']]
    assert entries == ['make lint', 'make imports', 'make types']
    assert {entry.removeprefix('make ') for entry in entries} <= set(parts_of_the_gate())


def test_workflow_and_readme_name_the_gate() -> None:
    workflow = yaml.safe_load((ROOT / '.github' / 'workflows' / 'gate.yml').read_text(encoding='utf-8'))
    assert [step['run'] for step in workflow['jobs']['gate']['steps'] if 'run' in step] == ['bash .ci/run']
    assert 'exec make test' in (ROOT / '.ci' / 'run').read_text(encoding='utf-8')
    assert 'make test' in (ROOT / 'README.md').read_text(encoding='utf-8')


def test_contributing_explains_every_part_of_the_gate() -> None:
    for part in [*parts_of_the_gate(), 'test', 'unit']:
        assert f'| `make {part}` |' in CONTRIBUTING, part


def test_named_files_exist() -> None:
    named = re.findall(r'`((?:kd_plugins|tests|docs|configs|tools)/[\w./-]*[\w/])`', CONTRIBUTING)
    assert len(named) > 10
    for path in named:
        if not re.search(r'NAME|METHOD|/a/|/b\.', path):
            assert (ROOT / path).exists(), path


def test_citation_is_complete() -> None:
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))
    assert citation['version'] == __version__ and citation['cff-version'] == '1.2.0'
    assert citation['license'] == 'Apache-2.0' and citation['authors'] and citation['message']


@pytest.mark.parametrize('name', ['bug', 'feature', 'result'])
def test_issue_forms_are_complete(name: str) -> None:
    form = yaml.safe_load((ROOT / '.github' / 'ISSUE_TEMPLATE' / f'{name}.yml').read_text(encoding='utf-8'))
    assert form['name'] and form['description']
    identifiers = [field['id'] for field in form['body']]
    assert len(set(identifiers)) == len(identifiers)
    assert any(field.get('validations', {}).get('required') for field in form['body'])


def test_changelog_has_a_place_for_the_next_change() -> None:
    assert (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8').startswith('# Changelog\n\n## Unreleased\n')


def test_changelog_names_modules_that_exist() -> None:
    text = (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8')
    table = text.partition('| module before | module now |')[2].partition('\n\n')[0]
    modules = re.findall(r'\| `([\w.]+?)(?:\.\*)?` \|$', table, re.MULTILINE)
    assert len(modules) > 50
    for module in modules:
        path = ROOT / 'kd_plugins' / module.replace('.', '/')
        assert path.is_dir() or path.with_suffix('.py').is_file(), module
