"""The hook checks data files itself, because other launchers than ours start a training too."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.config import Config

from kd_plugins.errors import ConfigError
from kd_plugins.hooks import DistillHook
from kd_plugins.hooks.data_files import check_run_files, is_checked
from tests.data_checks.made import coco_config, content
from tests.ranks import on_two_ranks

from .tiny_runs import losses_of

pytest.importorskip('mmdet')


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, text: str) -> None:
        self.lines.append(text)


def broken(folder: Path) -> Config:
    """Return a config whose validation file lacks ``iscrowd``."""
    val = content(first=10)
    for entry in val['annotations']:
        del entry['iscrowd']
    config = coco_config(folder, val=val)
    config.val_cfg = dict()
    return config


def sentence_of(config: Any) -> str:
    try:
        check_run_files(SimpleNamespace(cfg=config, logger=Log()))
    except ConfigError as error:
        return str(error)
    return ''


def sentence_on_this_rank(folder: Path) -> str:
    import torch.distributed as dist

    # The files lie on the main rank's machine alone.
    config = Config.fromfile(folder / 'config.py') if dist.get_rank() == 0 else Config(dict(train_dataloader=dict()))
    return sentence_of(config)


def test_an_error_names_file_and_field(tmp_path: Path) -> None:
    config = broken(tmp_path)
    assert "val.json': annotation 1 (and 7 more) has no 'iscrowd'" in sentence_of(config)
    config.val_cfg = None
    assert sentence_of(config) == ''


def test_remarks_go_to_the_log(tmp_path: Path) -> None:
    runner = SimpleNamespace(cfg=coco_config(tmp_path, val=content(first=3)), logger=Log())
    runner.cfg.val_cfg = dict()
    check_run_files(runner)
    (line,) = runner.logger.lines
    assert '1 of 4 files of val_dataloader are also files of train_dataloader' in line


@pytest.mark.distributed
def test_an_error_of_the_main_rank_stops_every_rank(tmp_path: Path) -> None:
    broken(tmp_path).dump(tmp_path / 'config.py')
    (tmp_path / 'ranks').mkdir()
    sentences = on_two_ranks(tmp_path / 'ranks', sentence_on_this_rank, tmp_path)
    assert ["has no 'iscrowd'" in sentence for sentence in sentences] == [True, True]


def test_the_hook_checks_unless_it_is_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kd_plugins.hooks import distill_hook

    calls: list[Any] = []
    monkeypatch.setattr(distill_hook, 'check_run_files', calls.append)
    losses_of(tmp_path / 'on', [DistillHook(distillers={})], epochs=1)
    assert len(calls) == 1
    losses_of(tmp_path / 'off', [DistillHook(distillers={}, checks={'data': False})], epochs=1)
    assert len(calls) == 1
    assert is_checked({}) and not is_checked({'default_hooks': {'distill': {'checks': {'data': False}}}})
