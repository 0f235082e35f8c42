"""Configs that pages show whole, on bases that are installed, can be trained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kd_plugins.config.data_checks import check_trainable
from kd_plugins.config.reading import read_config
from kd_plugins.hooks import DistillHook

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / 'README.md',
    *sorted(path for path in (ROOT / 'docs').rglob('*.md') if '_build' not in path.parts),
    *sorted((ROOT / 'configs').rglob('README.md')),
]
BLOCK = re.compile(r'^```python\n(.*?)^```', re.DOTALL | re.MULTILINE)
BASES = re.compile(r'^_base_ = (\[.*?\]|.*?)$', re.DOTALL | re.MULTILINE)


def whole_configs() -> Iterator[tuple[str, str]]:
    """Yield page and text of each config whose bases all belong to a package."""
    for page in PAGES:
        for block in BLOCK.findall(page.read_text(encoding='utf-8')):
            bases = [name for text in BASES.findall(block) for name in re.findall(r"'([^']+\.py)'", text)]
            if bases and all('::' in name for name in bases):
                yield page.relative_to(ROOT).as_posix(), block


def test_shown_configs_can_be_trained(tmp_path: Path) -> None:
    for package in ('mmdet', 'mmpose', 'mmseg'):
        pytest.importorskip(package)
    configs = list(whole_configs())
    assert len(configs) > 30
    for number, (page, text) in enumerate(configs):
        file = tmp_path / f'{number}.py'
        file.write_text(text, encoding='utf-8')
        config = read_config(str(file))
        check_trainable(config, page)
        entry = (config.get('default_hooks') or {}).get('distill')
        if entry is not None:
            settings = entry.to_dict()
            assert settings.pop('type') == 'kd_plugins.DistillHook'
            assert DistillHook(**settings).distillers, page
