"""Contents and metadata of the wheel, configs by name in a checkout, and the versions that the extras allow."""

from __future__ import annotations

import re
import tarfile
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import yaml

import kd_plugins
from tools.setup.install import STACKS

ROOT = Path(__file__).resolve().parents[1]
hatchling = pytest.importorskip('hatchling')
requirements = pytest.importorskip('packaging.requirements')


@pytest.fixture(scope='module')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    from hatchling.builders.wheel import WheelBuilder

    folder = str(tmp_path_factory.mktemp('wheel'))
    built = next(WheelBuilder(str(ROOT)).build(directory=folder, versions=['standard']))
    return zipfile.ZipFile(built)


def metadata(wheel: zipfile.ZipFile, name: str) -> str:
    (path,) = [path for path in wheel.namelist() if path.endswith(f'.dist-info/{name}')]
    return wheel.read(path).decode()


def carried() -> set[str]:
    """Return the paths of the files that a wheel carries besides the package."""
    kept = {'model-index.yml'}
    for folder in ('configs', 'tools'):
        paths = [path for path in (ROOT / folder).rglob('*') if path.is_file() and '__pycache__' not in path.parts]
        assert paths
        kept |= {path.relative_to(ROOT).as_posix() for path in paths}
    return kept


def test_wheel_contains_package_configs_and_tools(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert len(names) == len(set(names))
    assert {name.removeprefix('kd_plugins/.mim/') for name in names if '/.mim/' in name} == carried()
    assert {'kd_plugins/hooks/__init__.py', 'kd_plugins/py.typed'} <= set(names)
    assert not any('__pycache__' in name or name.startswith(('tests/', 'docs/')) for name in names)


def test_a_wheel_from_the_source_archive_is_the_same(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    from hatchling.builders.sdist import SdistBuilder
    from hatchling.builders.wheel import WheelBuilder

    archive = next(SdistBuilder(str(ROOT)).build(directory=str(tmp_path)))
    with tarfile.open(archive) as file:
        file.extractall(tmp_path / 'source', filter='data')
    (source,) = (tmp_path / 'source').iterdir()
    again = next(WheelBuilder(str(source)).build(directory=str(tmp_path), versions=['standard']))
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(wheel.namelist())


def test_the_model_index_names_every_metafile_and_every_config_that_it_describes(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    index = yaml.safe_load(wheel.read('kd_plugins/.mim/model-index.yml'))
    assert index['Import'] == sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob('configs/*/metafile.yml'))
    for path in index['Import']:
        models = yaml.safe_load(wheel.read(f'kd_plugins/.mim/{path}'))['Models']
        assert models
        for model in models:
            assert f'kd_plugins/.mim/{model["Config"]}' in names, model['Name']


def test_wheel_metadata(wheel: zipfile.ZipFile) -> None:
    text = metadata(wheel, 'METADATA')
    assert f'Version: {kd_plugins.__version__}' in text
    assert 'License-Expression: Apache-2.0' in text
    hard = [line for line in text.splitlines() if line.startswith('Requires-Dist') and 'extra ==' not in line]
    names = [re.split(r'[<>=]', line.split()[1])[0] for line in hard]
    assert sorted(names) == ['mmengine', 'numpy', 'pycocotools', 'setuptools', 'torch']
    for extra in ('det', 'pose', 'seg', 'det3d', 'volume', 'timm', 'views', 'export', 'docs', 'dev'):
        assert f'Provides-Extra: {extra}' in text
    assert metadata(wheel, 'entry_points.txt') == '[console_scripts]\nkd_plugins = kd_plugins.__main__:main\n'


def test_the_extras_allow_the_versions_that_are_tested_together(wheel: zipfile.ZipFile) -> None:
    """What make install pins for the upstream stack, and what is installed here if it is that stack."""
    pins = dict(pin.split('==') for pin in STACKS['upstream'].values() if '==' in pin)
    upstream = 'mmengine' in pins and version_of('mmengine') != ''
    for line in metadata(wheel, 'METADATA').splitlines():
        if not line.startswith('Requires-Dist: '):
            continue
        requirement = requirements.Requirement(line.partition(': ')[2])
        found = pins.get(requirement.name) or (version_of(requirement.name) if upstream else '')
        assert not found or requirement.specifier.contains(found, prereleases=True), f'{line} refuses {found}'
        if requirement.name == 'mmcv':
            assert not requirement.specifier.contains('2.2.0'), 'upstream MMDetection refuses MMCV 2.2'


def version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ''


def test_editable_wheel_holds_no_copy_of_the_configs(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    built = next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=['editable']))
    assert not [name for name in zipfile.ZipFile(built).namelist() if '.mim' in name]


def test_a_checkout_links_to_what_a_wheel_carries() -> None:
    links = ROOT / 'kd_plugins' / '.mim'
    assert {link.name: link.resolve() for link in links.iterdir()} == {
        name: ROOT / name for name in ('configs', 'tools', 'model-index.yml')
    }
