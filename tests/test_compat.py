from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import torch

from kd_plugins.compat import StandIn, TorchvisionModule, TorchvisionUserFinder, image_of_map

ROOT = Path(__file__).resolve().parents[1]
# A torchvision of each kind lies in a folder of its own; the folders are arguments.
SCRIPT = """
import importlib, json, sys
import numpy, torch
import kd_plugins
assert 'mmpose' not in sys.modules and 'torchvision' not in sys.modules, 'imported before it is needed'
for folder in sys.argv[1:]:
    sys.path.insert(0, folder)
    for name in [name for name in sys.modules if name.partition('.')[0] == 'torchvision' or name.endswith('simcc_vis')]:
        del sys.modules[name]
    importlib.invalidate_caches()
    simcc_vis = importlib.import_module('mmpose.visualization.simcc_vis')
    image = numpy.zeros((64, 48, 3), "uint8")
    drawn = simcc_vis.SimCCVisualizer().draw_instance_xy_heatmap(torch.rand(3, 64, 48), image)
    try:
        importlib.import_module('torchvision.transforms')
        afterwards = 'works'
    except Exception as error:
        afterwards = type(error).__name__
    print(json.dumps([getattr(simcc_vis.ToPILImage, '__module__', None), afterwards, drawn.ndim]))
"""
TORCHVISIONS = {
    'absent': 'raise ModuleNotFoundError("no torchvision", name="torchvision")',
    'broken': 'raise RuntimeError("operator torchvision::nms does not exist")',
    'working': '',
}
TRANSFORMS = """
from PIL import Image
class ToPILImage:
    def __call__(self, values):
        return Image.fromarray(values.reshape(values.shape[-2:]).mul(255).byte().numpy())
"""


@pytest.mark.slow
def test_mmpose_draws_simcc_whatever_torchvision_is(tmp_path):
    pytest.importorskip('mmpose')
    for name, content in TORCHVISIONS.items():
        package = tmp_path / name / 'torchvision'
        package.mkdir(parents=True)
        (package / '__init__.py').write_text(content)
        (package / 'transforms.py').write_text(TRANSFORMS)
    command = [sys.executable, '-W', 'ignore', '-c', SCRIPT, *(str(tmp_path / name) for name in TORCHVISIONS)]
    environ = {**os.environ, 'PYTHONPATH': str(ROOT), 'MPLBACKEND': 'agg'}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 0, done.stderr
    # A working torchvision is used, and afterwards none is feigned.
    assert [json.loads(line) for line in done.stdout.splitlines()[-3:]] == [
        ['kd_plugins.compat', 'ModuleNotFoundError', 3],
        ['kd_plugins.compat', 'RuntimeError', 3],
        ['torchvision.transforms', 'works', 3],
    ]


TIMM_SCRIPT = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
import torch
import kd_plugins
assert not {'timm', 'torchvision'} & set(sys.modules), 'imported before it is needed'
import timm
from timm.layers import BatchNormAct2d
from timm.utils.model import FrozenBatchNorm2d, freeze_batch_norm_2d
assert not [name for name in sys.modules if name.startswith('torchvision')]
maps = timm.create_model('test_efficientnet', features_only=True)(torch.randn(1, 3, 64, 64))
assert len(maps) == 5 and not isinstance(torch.nn.BatchNorm2d(1), FrozenBatchNorm2d)
assert timm.data.transforms.str_to_interp_mode('bicubic').value == 'bicubic'
assert not timm.layers._fx.has_fx_feature_extraction, 'the fallback for a missing torchvision'
for call in (lambda: freeze_batch_norm_2d(torch.nn.BatchNorm2d(1)), lambda: timm.data.create_transform(64)):
    try:
        call()
    except ImportError as error:
        assert str(error).startswith("torchvision, whose '") and 'is not installed or not usable' in str(error)
    else:
        raise AssertionError('a part of torchvision was feigned')
try:
    importlib.import_module('torchvision')
except Exception as error:
    print(type(error).__name__)
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec('timm') is None, reason='timm is not installed')
@pytest.mark.parametrize(('kind', 'error'), [('absent', 'ModuleNotFoundError'), ('broken', 'RuntimeError')])
def test_networks_of_timm_need_no_torchvision(kind, error, tmp_path):
    (tmp_path / 'torchvision').mkdir()
    (tmp_path / 'torchvision' / '__init__.py').write_text(TORCHVISIONS[kind])
    command = [sys.executable, '-W', 'ignore', '-c', TIMM_SCRIPT, str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, 'PYTHONPATH': str(ROOT)}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [error]


def test_a_working_torchvision_is_left_alone(monkeypatch):
    for name in ('torchvision', 'torchvision.transforms'):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    assert TorchvisionUserFinder.find_spec('timm') is None
    assert TorchvisionUserFinder.find_spec('json') is None


def test_stand_ins_are_classes_that_cannot_be_used():
    module = TorchvisionModule('torchvision.ops.misc')
    stand_in = module.FrozenBatchNorm2d
    assert stand_in is module.FrozenBatchNorm2d and issubclass(stand_in, StandIn)
    assert stand_in.__module__ == 'torchvision.ops.misc' and not isinstance(torch.nn.BatchNorm2d(1), stand_in)
    with pytest.raises(ImportError, match="^torchvision, whose 'FrozenBatchNorm2d' is called here, is not installed"):
        stand_in(3)
    with pytest.raises(AttributeError):
        module.__file__


def test_a_map_becomes_the_grey_image_that_torchvision_makes():
    values = torch.tensor([[0.0, 0.25, 1.0]])
    for shape in ((1, 3), (1, 1, 3), (3, 1)):
        image = image_of_map(values.reshape(shape))
        assert image.mode == 'L' and image.size == (shape[-1], shape[-2])
        assert list(image.tobytes()) == [0, 63, 255]
