"""Class heads on the stages of a backbone, the deeper of which teach the shallower (HSAKD, LSSKD, for dense models).

:class:`StageClassDistiller` gives each stage a head (``head``), which learns which classes the image has, also of
turned images, and what the deeper heads predict (``loss``).
"""

from .distiller import StageClassDistiller
from .head import StageHead
from .loss import presence_loss, stage_loss, turned_target

__all__ = ['StageClassDistiller', 'StageHead', 'presence_loss', 'stage_loss', 'turned_target']
