"""Model parts: what a method changes in the network itself. Each needs the OpenMMLab package that it extends."""

from importlib.util import find_spec

from . import volumetric as volumetric

if find_spec('mmdet') is not None:
    from . import dfine as dfine
