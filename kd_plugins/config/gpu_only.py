"""Model parts that cannot run without a GPU."""

from __future__ import annotations

from mmengine.config import Config

from ..utils.device import has_accelerator
from .loading import walk

# Parts of MMDetection3D whose operators exist for GPUs only, and which operators these are.
GPU_ONLY = {
    **dict.fromkeys(('SparseEncoder', 'SparseEncoderSASSD', 'SparseUNet', 'VoxelSetAbstraction'), 'sparse convolution'),
    **dict.fromkeys(('PointNet2SAMSG', 'PointNet2SASSG'), 'sampling and grouping of points'),
}


def needs_gpu(config: Config) -> str:
    """Return why a model cannot take a step on this machine, in one sentence, or ``''`` where it can.

    Args:
        config: A config with a ``model``.

    >>> needs_gpu(Config(dict(model=dict(type='VoxelNet', middle_encoder=dict(type='PointPillarsScatter')))))
    ''
    """
    if has_accelerator():
        return ''
    for path, node in walk(config.model, 'model'):
        kind = str(node.get('type', '')).rpartition('.')[2]
        if kind in GPU_ONLY:
            return f'{path} is {kind}, whose {GPU_ONLY[kind]} needs a GPU, and there is none'
    return ''
