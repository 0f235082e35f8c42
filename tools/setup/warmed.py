"""Imports and files that the server of check_configs.py reads once, when it imports this module."""

from __future__ import annotations

import gc
from importlib import import_module
from importlib.util import find_spec

from kd_plugins.testing.metafiles import parse_metafiles, parse_metafiles_once

PACKAGES = [name for name in ('mmdet', 'mmpose', 'mmseg', 'mmdet3d') if find_spec(name)]
PARTS = ('datasets', 'engine', 'evaluation', 'models', 'structures', 'utils')
OTHERS = ('mmdet.visualization', 'mmpose.visualization', 'monai.losses', 'monai.networks.nets', 'timm')

# First, because MMPose finds there what it needs of torchvision.
import_module('kd_plugins.commands.preflight')
for module in (*(f'{package}.{part}' for package in PACKAGES for part in PARTS), *OTHERS):
    if find_spec(module.partition('.')[0]):
        import_module(module)
parse_metafiles_once()
for package in PACKAGES:
    parse_metafiles(package)
# These objects live for ever: a collection in a forked process would touch, and so copy, the memory of all of them.
gc.collect()
gc.freeze()
