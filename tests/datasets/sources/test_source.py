"""The sources as they are shipped: addresses, hashes, and the page that describes them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kd_plugins.datasets.sources import SOURCES, Source

PAGE = Path(__file__).resolve().parents[3] / 'docs' / 'data.md'
CONFIGS = Path(__file__).resolve().parents[3] / 'configs' / '_base_' / 'datasets'


@pytest.mark.parametrize('source', SOURCES.values(), ids=list(SOURCES))
def test_address_hashes_and_config(source: Source) -> None:
    assert source.url.startswith('https://')
    assert (CONFIGS / f'{source.name}.py').is_file()
    assert source.contents is not None and re.fullmatch('[0-9a-f]{64}', source.contents)
    assert source.md5 is None or re.fullmatch('[0-9a-f]{32}', source.md5)


@pytest.mark.parametrize('source', SOURCES.values(), ids=list(SOURCES))
def test_the_page_names_them(source: Source) -> None:
    text = PAGE.read_text(encoding='utf-8')
    for fact in (
        f'kd_plugins data {source.name}',
        source.url,
        source.md5,
        source.contents,
        *source.about.split('; ')[1:],
    ):
        assert fact is None or fact in text, fact
