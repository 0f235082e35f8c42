"""Model parts that cannot run without a GPU."""

from __future__ import annotations

from mmengine.config import Config

from ..utils.device import has_accelerator
from .loading import class_name, walk

# Parts of MMDetection3D to the operators that they use and that exist for GPUs only.
GPU_ONLY = {
    **dict.fromkeys(('SparseEncoder', 'SparseEncoderSASSD', 'SparseUNet', 'VoxelSetAbstraction'), 'sparse convolution'),
    **dict.fromkeys(('PointNet2SAMSG', 'PointNet2SASSG'), 'sampling and grouping of points'),
}


def needs_gpu(config: Config) -> str:
    """Return one sentence on the part of a model that needs a GPU where there is none, or ``''``.

    Args:
        config: A config with a ``model``.

    >>> needs_gpu(Config(dict(model=dict(type='VoxelNet', middle_encoder=dict(type='PointPillarsScatter')))))
    ''
    """
    if has_accelerator():
        return ''
    for path, node in walk(config.model, 'model'):
        name = class_name(node)
        if name in GPU_ONLY:
            return f'{path} is {name}, whose {GPU_ONLY[name]} needs a GPU, and there is none'
    return ''
