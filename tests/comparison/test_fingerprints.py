"""Identity of settings and weights: what changes it and what does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.comparison.fingerprints import settings_hash, weights_hash
from kd_plugins.config.loading import load_config

CONFIG = "default_scope = 'mmengine'\nroot = '{{$SOME_ROOT:data/some}}/'\nfile = root + 'a.json'\n"


def hash_of(path: Path, options: dict[str, Any] | None = None, needs: dict[str, str] | None = None) -> str:
    return settings_hash(load_config(str(path), options), str(path), options or {}, needs or {})


def test_the_folder_of_the_data_does_not_count_and_settings_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'a.py'
    path.write_text(CONFIG)
    monkeypatch.delenv('SOME_ROOT', raising=False)
    plain = hash_of(path)
    monkeypatch.setenv('SOME_ROOT', '/elsewhere')
    assert load_config(str(path)).file == '/elsewhere/a.json' and hash_of(path) == plain
    assert load_config(str(path)).file == '/elsewhere/a.json', 'the variable must be there again'
    others = [hash_of(path, {'x': 1}), hash_of(path, {'x': 2}), hash_of(path, None, {'big': 'a'})]
    assert len({plain, *others, hash_of(path, None, {'big': 'b'})}) == 5
    path.write_text("file = '{{$SOME_ROOT:data/some}}/a.json'\nroot = 'data/some/'\ndefault_scope = 'mmengine'\n")
    assert hash_of(path) == plain, 'the order of the keys'


def test_weights_count_and_what_else_a_checkpoint_holds_does_not(tmp_path: Path) -> None:
    def saved(value: float, **others: Any) -> str:
        weights = {'b': torch.tensor([value, 1.0], dtype=torch.bfloat16), 'a': torch.tensor(3)}
        torch.save({'state_dict': weights, **others}, tmp_path / 'x.pth')
        return weights_hash(tmp_path / 'x.pth')

    assert saved(0.5) == saved(0.5, meta={'time': 'now'}) != saved(0.25)
