"""READMEs and metafiles of the shipped configs list every config, with the measured numbers."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs'
FOLDERS = sorted(path.name for path in CONFIGS.iterdir() if path.is_dir() and path.name != '_base_')
SECTIONS = ['When to use it', 'Config', 'Results', 'Cost', 'Configs']
# Column of a README's table to the metric in results.json.
COLUMNS = {
    'AP': 'coco/bbox_mAP',
    'AP50': 'coco/bbox_mAP_50',
    'AP75': 'coco/bbox_mAP_75',
    'PCK at 0.2': 'PCK',
    'PCK': 'PCK',
    'pose AP': 'coco/AP',
    'Dice': 'volume/dice',
    'HD95': 'volume/hd95',
    'IoU': 'mIoU',
    'mDice': 'mDice',
    '3-D mAP': 'lidar/3d_mAP',
    'BEV mAP': 'lidar/bev_mAP',
}
# Name of a metric in a metafile to the one in results.json, and its factor.
METRICS = {
    'box AP': ('coco/bbox_mAP', 100),
    'PCK@0.2': ('PCK', 1),
    'AP': ('coco/AP', 1),
    'Dice': ('volume/dice', 100),
    'mIoU': ('mIoU', 1),
    'mAP': ('lidar/3d_mAP', 100),
}
NUMBER = r'[+-]?\d+\.\d+'


def config_names(folder: str) -> list[str]:
    return sorted(path.name for path in (CONFIGS / folder).glob('*.py'))


def readme(folder: str) -> str:
    return (CONFIGS / folder / 'README.md').read_text(encoding='utf-8')


def metafile(folder: str) -> dict[str, Any]:
    return yaml.safe_load((CONFIGS / folder / 'metafile.yml').read_text(encoding='utf-8'))


def measured_arms() -> dict[str, dict[str, Any]]:
    """Return name of each measured config to its metrics; a config has one place in ``results/``.

    The arms of an experiment have names of their own, and its page is compared with its results elsewhere.
    """
    arms: dict[str, dict[str, Any]] = {}
    for path in sorted((ROOT / 'results').rglob('results.json')):
        if (path.parent / 'protocol.py').is_file():
            continue
        for name, metrics in json.loads(path.read_text(encoding='utf-8'))['arms'].items():
            assert name not in arms
            arms[name] = metrics
    return arms


ARMS = measured_arms()


def rows(text: str) -> Iterator[dict[str, str]]:
    """Yield the rows of all Markdown tables as column to cell."""
    header: list[str] = []
    for line in text.splitlines():
        if not line.startswith('|'):
            header = []
            continue
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if not header:
            header = cells
        elif not set(line) <= set('|-: '):
            yield dict(zip(header, cells, strict=True))


def agrees(text: str, value: float) -> bool:
    """Return whether a number in text is a value, rounded to as many digits."""
    digits = len(text.partition('.')[2])
    return abs(float(text) - value) <= 0.5001 * 10**-digits


@pytest.mark.parametrize('folder', FOLDERS)
def test_readme_lists_every_config_once(folder: str) -> None:
    text = readme(folder)
    assert re.findall(r'^## (.+)$', text, re.MULTILINE) == SECTIONS
    listed = [row['config'].strip('`') for row in rows(text.partition('## Configs')[2])]
    assert Counter(listed) == Counter(config_names(folder))


@pytest.mark.parametrize('folder', FOLDERS)
def test_metafile_lists_every_config_once(folder: str) -> None:
    content = metafile(folder)
    collections = {collection['Name'] for collection in content['Collections']}
    for collection in content['Collections']:
        assert set(collection) == {'Name', 'Metadata', 'Paper', 'README'}
        assert set(collection['Metadata']) == {'Training Data', 'Training Techniques', 'Architecture'}
        assert collection['Paper']['URL'].startswith('https://arxiv.org/abs/') and collection['Paper']['Title']
        assert collection['Paper']['URL'] in readme(folder) or folder == 'chains'
        assert collection['README'] == f'configs/{folder}/README.md'
    models = content['Models']
    assert Counter(model['Config'] for model in models) == Counter(
        f'configs/{folder}/{name}' for name in config_names(folder)
    )
    for model in models:
        assert set(model) - {'Results'} == {'Name', 'In Collection', 'Config', 'Metadata'}
        assert model['Name'] == Path(model['Config']).stem and model['In Collection'] in collections


def test_model_index_imports_every_metafile() -> None:
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))
    assert index == {'Import': [f'configs/{folder}/metafile.yml' for folder in FOLDERS]}
    names = [model['Name'] for folder in FOLDERS for model in metafile(folder)['Models']]
    collections = [collection['Name'] for folder in FOLDERS for collection in metafile(folder)['Collections']]
    assert len(set(names)) == len(names) and len(set(collections)) == len(collections)


@pytest.mark.slow
@pytest.mark.parametrize('folder', FOLDERS)
def test_length_and_batch_size_are_those_of_the_config(folder: str) -> None:
    for package in ('mmdet', 'mmpose', 'mmseg', 'mmdet3d'):
        pytest.importorskip(package)
    for model in metafile(folder)['Models']:
        config, metadata = Config.fromfile(ROOT / model['Config']), model['Metadata']
        if config.get('stages'):
            assert metadata['Stages'] == list(config.stages)
            continue
        length = 'Epochs' if 'Epochs' in metadata else 'Iterations'
        assert metadata[length] == config.train_cfg['max_epochs' if length == 'Epochs' else 'max_iters'], model['Name']
        batch = config.train_dataloader.batch_size
        processes = re.search(r'_(\d+)xb(\d+)', model['Name'])
        scaled = config.get('auto_scale_lr', {}).get('base_batch_size', batch)
        assert metadata['Batch Size'] == (int(processes[1]) * batch if processes else scaled), model['Name']


@pytest.mark.parametrize('folder', FOLDERS)
def test_numbers_of_the_readme_are_the_measured_ones(folder: str) -> None:
    shown = set()
    for row in rows(readme(folder).partition('## Results')[2].partition('## Cost')[0]):
        (name,) = re.findall(r'`([\w.-]+)\.py`', row['config'])
        shown.add(name)
        for column, cell in row.items():
            if column in COLUMNS:
                mean, deviation = re.fullmatch(rf'({NUMBER}) ± ({NUMBER})', cell).groups()
                last = ARMS[name][COLUMNS[column]]['last']
                assert agrees(mean, last['mean']) and agrees(deviation, last['deviation']), (name, column)
            elif column.endswith(', difference'):
                difference = ARMS[name][COLUMNS[column.removesuffix(', difference')]].get('difference')
                assert bool(cell) == bool(difference), (name, column)
                if difference:
                    values = re.fullmatch(rf'({NUMBER}) \[({NUMBER}), ({NUMBER})\]', cell).groups()
                    expected = [difference[key] for key in ('mean', 'low', 'high')]
                    assert all(map(agrees, values, expected)), (name, column)
            else:
                assert column in ('config', 'files'), column
    assert shown >= {Path(name).stem for name in config_names(folder)} & set(ARMS)


def test_metafiles_have_the_measured_numbers() -> None:
    measured = set()
    for folder in FOLDERS:
        for model in metafile(folder)['Models']:
            for result in model.get('Results', []):
                measured.add(model['Name'])
                assert set(result) == {'Task', 'Dataset', 'Metrics'}
                for metric, value in result['Metrics'].items():
                    name, factor = METRICS[metric]
                    assert agrees(str(value), factor * ARMS[model['Name']][name]['last']['mean']), model['Name']
    assert measured == set(ARMS)


def inherited(path: Path) -> set[Path]:
    """Return a shipped config and all shipped files that it inherits."""
    files = {path}
    for base in re.findall(r'^_base_ = (\[.*?\]|.*?)$', path.read_text(encoding='utf-8'), re.MULTILINE | re.DOTALL):
        for name in re.findall(r"'([^']+\.py)'", base):
            if '::' not in name or name.startswith('kd_plugins::'):
                file = path.parent / name if '::' not in name else CONFIGS / name.removeprefix('kd_plugins::')
                files |= inherited(file.resolve())
    return files


@pytest.mark.parametrize('folder', FOLDERS)
def test_readme_names_every_environment_variable(folder: str) -> None:
    files = {file for name in config_names(folder) for file in inherited(CONFIGS / folder / name)}
    variables = {name for file in files for name in re.findall(r'\{\{\s*\$(\w+)', file.read_text(encoding='utf-8'))}
    assert sorted(name for name in variables if not re.search(rf'\b{name}\b', readme(folder))) == []


@pytest.mark.parametrize('path', [*(f'configs/{name}/README.md' for name in FOLDERS), 'results/README.md'])
def test_links_and_named_configs_exist(path: str) -> None:
    text = (ROOT / path).read_text(encoding='utf-8')
    for target in re.findall(r'\]\(([^)]+)\)', text):
        if '://' not in target:
            assert (ROOT / path).parent.joinpath(target.partition('#')[0]).exists(), target
    for name in re.findall(r'kd_plugins::([\w./-]+\.py)', text):
        assert (CONFIGS / name).is_file(), name


@pytest.mark.parametrize('folder', FOLDERS)
def test_entries_of_the_readme_are_configs(folder: str) -> None:
    blocks = re.findall(r'```python\n(.*?)```', readme(folder), re.DOTALL)
    assert blocks
    for block in blocks:
        Config.fromstring(re.sub(r'^_base_ = .*\n', '', block), '.py')


def test_commands_in_the_documentation_name_configs_that_exist() -> None:
    pages = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
    named = []
    for page in pages:
        text = page.read_text(encoding='utf-8')
        named += [(page.name, name) for name in re.findall(r'(?:configs/|kd_plugins::)([\w./-]+\.py)\b', text)]
    assert len(named) > 10
    assert [pair for pair in named if not (CONFIGS / pair[1]).is_file()] == []
