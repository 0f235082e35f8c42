"""Errors below data sets, pipeline steps and metrics, in this process and in a worker."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmengine.registry import MODELS
from torch import nn
from torch.utils.data import DataLoader, Dataset

from kd_plugins.utils.cli import one_sentence
from kd_plugins.utils.data_errors import building_sentence, data_sentence, log_traceback
from tests.data_checks.made import coco_config


class Broken(Dataset[int]):
    """A data set whose third item cannot be read."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        return {0: 0, 1: 1}[index]


class NoMetric(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        raise KeyError('labels')

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return {}


def raised(action: Any) -> BaseException:
    with pytest.raises(Exception) as caught:
        action()
    return caught.value


@MODELS.register_module(force=True)
class Deep(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        if depth != 18:
            raise KeyError(f'invalid depth {depth}')


@MODELS.register_module(force=True)
class Around(nn.Module):
    def __init__(self, backbone: dict[str, Any]) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)


def test_a_part_that_cannot_be_built_is_named() -> None:
    error = raised(lambda: MODELS.build(dict(type='Around', backbone=dict(type='Deep', depth=19))))
    assert building_sentence(error) == (
        'Deep cannot be built: KeyError: invalid depth 19; KD_DEBUG=1 shows the traceback'
    )
    assert building_sentence(raised(lambda: Deep(19))) is None


def test_a_data_set_is_named_with_its_item() -> None:
    loader = DataLoader(Broken(), batch_size=1)
    assert data_sentence(raised(lambda: list(loader))) == (
        "data set 'Broken', item 2: KeyError: 2; KD_DEBUG=1 shows the traceback"
    )


def test_own_code_in_a_worker_is_named_with_its_line() -> None:
    sentence = data_sentence(raised(lambda: list(DataLoader(Broken(), batch_size=1, num_workers=2))))
    assert sentence is not None and '\n' not in sentence
    assert re.match(r"data-loading worker 0: KeyError: 2 \(in __getitem__ of '.*test_data_errors.py', line", sentence)


def test_a_metric_is_named() -> None:
    sentence = data_sentence(raised(lambda: NoMetric().process({}, [])))
    assert sentence is not None and sentence.startswith("metric 'NoMetric': KeyError: 'labels'")


def test_a_bug_elsewhere_has_no_sentence() -> None:
    assert data_sentence(raised(lambda: int('x'))) is None


@pytest.mark.parametrize('workers', [0, 1])
def test_a_step_of_mmdetection(tmp_path: Path, workers: int) -> None:
    """An image vanishes after the checks."""
    pytest.importorskip('mmdet')
    from mmengine.registry import DATASETS

    node = dict(coco_config(tmp_path).train_dataloader.dataset)
    node['pipeline'] = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
    with DATASETS.switch_scope_and_registry('mmdet') as registry:
        dataset = registry.build(node)
    (tmp_path / 'images' / '2.jpg').write_bytes(b'no image')
    error = raised(lambda: list(DataLoader(dataset, batch_size=None, num_workers=workers)))
    sentence = data_sentence(error)
    assert sentence is not None and '\n' not in sentence
    assert 'AssertionError: failed to load image' in sentence and '2.jpg' in sentence
    if workers:
        assert re.match(r"data-loading worker 0: .* \(in \w+ of '.*loading.py', line \d+\); num_workers=0", sentence)
    else:
        assert sentence.startswith("data set 'CocoDataset', pipeline step 'LoadImageFromFile', item 2 ('")


def test_the_command_prints_one_line_and_the_log_file_has_the_traceback(tmp_path: Path, capsys: Any) -> None:
    logger = MMLogger.get_instance('data_errors', log_file=str(tmp_path / 'run.log'))
    with pytest.raises(SystemExit) as end, one_sentence():
        list(DataLoader(Broken(), batch_size=1))
    assert end.value.code == 2
    assert capsys.readouterr().err.count('\n') == 1
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.flush()
    text = (tmp_path / 'run.log').read_text()
    assert 'Traceback' in text and 'in __getitem__' in text
    log_traceback(ValueError('a second error'))
    assert 'a second error' in (tmp_path / 'run.log').read_text()
