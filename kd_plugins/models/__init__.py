"""Model parts: what a method changes in the network itself. Each needs the OpenMMLab package that it extends."""

from importlib.util import find_spec

if find_spec('mmdet') is not None:
    from . import dfine as dfine
