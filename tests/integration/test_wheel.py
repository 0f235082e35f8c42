"""The wheel in an environment of its own and an empty folder: data, train, test, preflight, doctor, configs by name.

The environment shares the heavy packages with the one that runs the tests, but kd_plugins comes from the wheel.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip('mmdet')
pytest.importorskip('hatchling')
pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == 'nt', reason='the folders of a POSIX environment')]
ROOT = Path(__file__).resolve().parents[2]
CONFIG = 'kd_plugins::gfl/gfl_r18_digits_ema-ld.py'
# The teacher of the config begins after four epochs, which a run of one epoch would refuse.
BEGIN = 'default_hooks.distill.teacher.begin=0'
ONE_EPOCH = ['--cfg-options', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1', BEGIN]
Start = Callable[..., str]


def call(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f'{command}\n{done.stdout}\n{done.stderr}'
    return done


@pytest.fixture(scope='module')
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel."""
    folder = tmp_path_factory.mktemp('wheel')
    call([sys.executable, '-m', 'hatchling', 'build', '-t', 'wheel', '-d', str(folder)], cwd=ROOT)
    (wheel,) = folder.glob('*.whl')
    venv.create(folder / 'venv', symlinks=True)
    python = folder / 'venv' / 'bin' / 'python'
    call([sys.executable, '-m', 'pip', '--python', str(python), 'install', '--no-deps', '--no-index', str(wheel)])
    (packages,) = (folder / 'venv').glob('lib/python*/site-packages')
    # A path that a .pth file adds has its own .pth files ignored, so an editable kd_plugins stays out.
    (packages / 'shared.pth').write_text(f'{sysconfig.get_paths()["purelib"]}\n{sysconfig.get_paths()["platlib"]}\n')
    return folder / 'venv'


@pytest.fixture(scope='module')
def start(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """A function that runs ``kd_plugins`` in a folder that was empty at first, and returns its output."""
    folder = tmp_path_factory.mktemp('empty')
    kept = {key: value for key, value in os.environ.items() if not key.endswith('_ROOT') and key != 'PYTHONPATH'}
    kept.update(OMP_NUM_THREADS='1', MPLBACKEND='agg')

    def run(*arguments: str, program: str = 'kd_plugins') -> str:
        return call([str(environment / 'bin' / program), *arguments], cwd=folder, env=kept).stdout

    (folder / 'mine.py').write_text("_base_ = 'kd_plugins::gfl/gfl_r50_fpn_1x_coco_ema-ld.py'\n")
    return run


def files(environment: Path) -> set[str]:
    (package,) = environment.glob('lib/python*/site-packages/kd_plugins')
    return {path.relative_to(package).as_posix() for path in package.rglob('*') if '__pycache__' not in path.parts}


def test_everything_runs_in_an_empty_folder(environment: Path, start: Start) -> None:
    before = files(environment)
    where = start('-c', 'import kd_plugins; print(kd_plugins.__file__)', program='python')
    assert Path(where.strip()).is_relative_to(environment)

    start('data', 'digits', '--num-train', '16', '--num-val', '8')
    # Batches of eight: two iterations.
    trained = start('train', CONFIG, *ONE_EPOCH)
    assert 'distill.localization.loss_ld' in trained and 'coco/bbox_mAP' in trained
    checkpoint = 'work_dirs/gfl_r18_digits_ema-ld/epoch_1.pth'
    assert 'coco/bbox_mAP' in start('test', CONFIG, checkpoint)
    assert 'preflight passed' in start('preflight', 'mine.py', '--generated')

    folder = Path(start('-c', 'import os; print(os.getcwd())', program='python').strip())
    assert sorted(path.name for path in folder.iterdir()) == ['data', 'mine.py', 'work_dirs']
    assert files(environment) == before


def test_the_doctor_looks_at_the_wheel(environment: Path, start: Start) -> None:
    out = start('doctor')
    assert 'Nothing that is installed is broken.' in out
    (tool,) = environment.glob('lib/python*/site-packages/kd_plugins/.mim/tools/doctor.py')
    assert 'usage: kd_plugins doctor' in start('-S', str(tool), '--help', program='python')
