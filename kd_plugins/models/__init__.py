"""Networks and heads of methods that change the model; each needs the OpenMMLab package that it extends."""

from importlib.util import find_spec

from . import backbones as backbones
from . import batch_resize as batch_resize
from . import volumetric as volumetric

if find_spec('mmdet') is not None:
    from . import dfine as dfine
    from . import hybrid_encoder as hybrid_encoder
    from . import rtdetr as rtdetr
