"""What docs/models/dfine.md says of arguments, configs and parameters is true of the code."""

from __future__ import annotations

import ast
import inspect
import math
import re
from pathlib import Path

import pytest

pytest.importorskip('mmdet')
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from kd_plugins.config.reading import read_config
from kd_plugins.losses import DDFLoss
from kd_plugins.models.dfine import FDRHead

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / 'docs' / 'models' / 'dfine.md').read_text(encoding='utf-8')
BLOCKS = re.findall(r'^```python\n(.*?)^```', PAGE, re.DOTALL | re.MULTILINE)
FULL = [block for block in BLOCKS if "'mmdet::" in block]
ROWS = {
    'DINO, 4 scales': 'dino-4scale_r50_8xb2-12e_coco',
    'Deformable DETR, single-stage': 'deformable-detr_r50_16xb2-50e_coco',
    'Deformable DETR, two-stage': 'deformable-detr-refine-twostage_r50_16xb2-50e_coco',
    'DAB-DETR': 'dab-detr_r50_8xb2-50e_coco',
}


@pytest.mark.parametrize('kind', [FDRHead, DDFLoss])
def test_every_argument_is_explained_with_its_default(kind: type) -> None:
    named = [p for p in inspect.signature(kind).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    assert len(named) >= 6
    for parameter in named:
        row = re.search(rf'^\| `{parameter.name}` \| `(.*?)` \|', PAGE, re.MULTILINE)
        assert row, f'{parameter.name} is not explained'
        assert eval(row.group(1)) == parameter.default, parameter.name


@pytest.mark.parametrize('block', FULL, ids=lambda block: re.search(r'FDR\w+', block).group())
def test_blocks_are_the_shipped_configs(block: str, tmp_path: Path) -> None:
    base = re.search(r"'mmdet::\w+/(.+)\.py'", block)
    assert base
    (tmp_path / 'page.py').write_text(block)
    shipped = ROOT / 'configs' / 'dfine' / f'{base.group(1)}_golsd.py'
    assert read_config(str(tmp_path / 'page.py')).to_dict() == read_config(str(shipped)).to_dict()


def test_the_page_shows_all_three_detectors() -> None:
    assert len(FULL) == 3


@pytest.mark.parametrize('block', [block for block in BLOCKS if 'my_golsd_config' in block])
def test_changes_build(block: str) -> None:
    """The options that the page gives are taken by the head."""
    (node,) = [node for node in ast.parse(block).body if ast.unparse(node).startswith('model')]
    scope: dict[str, dict[str, object]] = {}
    exec(ast.unparse(node), scope)
    config = Config.fromfile(ROOT / 'configs' / 'dfine' / 'dino_r18_bccd_golsd.py')
    config.merge_from_dict({'model': scope['model']})
    init_default_scope('mmdet')
    head = MODELS.build(config.model).bbox_head
    changes = scope['model']['bbox_head']
    assert isinstance(changes, dict)
    if changes['loss_ddf'] is None:
        assert head.loss_ddf is None and head.matching == 'own'
    else:
        assert (head.loss_ddf.normalizer, head.loss_ddf.denoising_counts) == ('rank', 'matching')
        assert head.keep_every_object is False


def test_first_value_of_fgl() -> None:
    assert round(0.15 * 4 * math.log(33), 1) == 2.1


@pytest.mark.parametrize('row', ROWS)
def test_parameters(row: str) -> None:
    fdr = read_config(str(ROOT / 'configs' / 'dfine' / f'{ROWS[row]}_golsd.py'))
    folder = re.search(r"'(mmdet::\w+/)", (ROOT / 'configs' / 'dfine' / f'{ROWS[row]}_golsd.py').read_text())
    assert folder
    init_default_scope('mmdet')
    found = []
    for config in (read_config(f'{folder.group(1)}{ROWS[row]}.py'), fdr):
        model = MODELS.build(config.model)
        found.append(f'{sum(value.numel() for value in model.parameters()) / 1e6:.2f} M')
    assert f'| {row} | {found[0]} | {found[1]} |' in PAGE
