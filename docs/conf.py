"""How Sphinx builds these pages: MyST Markdown, docstrings by napoleon, nothing from the network."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

project = 'kd_plugins'
author = 'the kd_plugins authors'
copyright = author
_version = re.search(r"__version__ = '([^']+)'", (ROOT / 'kd_plugins' / 'version.py').read_text(encoding='utf-8'))
release = version = _version.group(1) if _version else ''

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.mathjax']
source_suffix = {'.md': 'markdown'}
exclude_patterns = ['_build']
myst_enable_extensions = ['dollarmath', 'deflist', 'colon_fence']
myst_heading_anchors = 3

autodoc_default_options = {'show-inheritance': True}
autodoc_typehints = 'signature'
autodoc_member_order = 'bysource'
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

# Furo where it is installed, otherwise the theme that comes with Sphinx: both build the same pages.
html_theme = 'furo' if find_spec('furo') else 'alabaster'
html_title = 'kd_plugins'
html_static_path = ['_static']
html_show_sphinx = False
html_copy_source = False


def escape_shapes(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Let ``(N, C, *spatial)`` stand in docstrings, where reStructuredText would take the star for emphasis."""
    lines[:] = [re.sub(r'(?<=, )\*(?=[a-z]+\b)', r'\\*', line) for line in lines]


def download_outside_pages(app: Any, docname: str, source: list[str]) -> None:
    """Turn links to Markdown files outside ``docs/``, such as tables in ``results/``, into downloads."""
    folder = Path(app.env.doc2path(docname)).parent

    def replace(match: re.Match[str]) -> str:
        text, target = match.groups()
        inside = (folder / target).resolve().is_relative_to(ROOT / 'docs')
        return match.group() if inside else f'{{download}}`{text} <{target}>`'

    source[0] = re.sub(r'\[([^\]\n]+)\]\(((?:\.\./)+[^)\s#]+\.md)\)', replace, source[0])


def setup(app: Any) -> None:
    """Connect what Sphinx calls."""
    app.connect('autodoc-process-docstring', escape_shapes)
    app.connect('source-read', download_outside_pages)
