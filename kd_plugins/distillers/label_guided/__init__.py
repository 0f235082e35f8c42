"""Label-guided self-distillation (LGD, arXiv 2109.11496): a teacher made of labels and the student's own maps.

:class:`LabelGuidedDistiller` reads the objects of a batch (``objects``), encodes them (``encoder``), makes instructive
maps (``instructor``) and compares the student's maps with them (``loss``).
"""

from .distiller import LabelGuidedDistiller
from .encoder import LabelEncoder
from .instructor import Instructor, MapLayers, ObjectAttention, object_means, painted
from .loss import label_guided_distance
from .objects import Objects, cells_in_boxes, descriptors, objects_of_batch

__all__ = [
    'Instructor',
    'LabelEncoder',
    'LabelGuidedDistiller',
    'MapLayers',
    'ObjectAttention',
    'Objects',
    'cells_in_boxes',
    'descriptors',
    'label_guided_distance',
    'object_means',
    'objects_of_batch',
    'painted',
]
