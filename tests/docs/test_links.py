"""Links of all written pages lead to a file, and to a heading where they name one."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / 'README.md',
    ROOT / 'CONTRIBUTING.md',
    ROOT / 'CHANGELOG.md',
    *sorted(path for path in (ROOT / 'docs').rglob('*.md') if '_build' not in path.parts),
    *sorted((ROOT / 'configs').rglob('README.md')),
]
CODE = re.compile(r'^( *)```.*?^\1```', re.DOTALL | re.MULTILINE)


def prose(path: Path) -> str:
    """Return a page without its blocks of code."""
    return CODE.sub('', path.read_text(encoding='utf-8'))


def anchor(heading: str) -> str:
    """Return the anchor of a heading, as GitHub and MyST make it.

    >>> anchor('When to use `kl`, and [DIST](#dist)')
    'when-to-use-kl-and-dist'
    """
    shown = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading).replace('`', '')
    return re.sub(r'[^\w\- ]', '', shown.strip().lower()).replace(' ', '-')


@cache
def anchors(path: Path) -> frozenset[str]:
    return frozenset(anchor(heading) for heading in re.findall(r'^#{1,6} (.+)$', prose(path), re.MULTILINE))


@pytest.mark.parametrize('path', PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(path: Path) -> None:
    for target in re.findall(r'\]\(\s*([^)\s]+)\s*\)', prose(path)):
        if '://' in target:
            continue
        name, _, heading = target.partition('#')
        file = path.parent / name if name else path
        assert file.exists(), target
        assert not heading or file.suffix != '.md' or heading in anchors(file.resolve()), target


def test_a_wrong_heading_is_seen() -> None:
    assert 'contents-of-a-checkpoint' in anchors(ROOT / 'docs' / 'checkpoints_and_resume.md')
    assert anchor('DIST') == 'dist' and 'dist' not in anchors(ROOT / 'README.md')
