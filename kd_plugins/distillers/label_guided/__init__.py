"""Label-guided self-distillation (LGD, arXiv 2109.11496): a teacher made of labels and the student's own maps.

:class:`LabelGuidedDistiller` reads the objects of a batch (``detection``, ``segmentation``, ``pose``), encodes them
(``encoder``), makes instructive maps (``instructor``) and compares the student's maps with them (``loss``).
"""

from .boxes import Boxes, box_descriptors, boxes_of_batch, cells_in_boxes
from .detection import DetectionTask
from .distiller import LabelGuidedDistiller
from .encoder import LabelEncoder
from .instructor import Instructor, MapLayers, ObjectAttention, object_means, painted
from .loss import label_guided_distance
from .objects import Objects
from .pose import PoseTask
from .segmentation import SegmentationTask
from .task import GuidedTask, TaskSettings
from .tasks import task_of

__all__ = [
    'Boxes',
    'DetectionTask',
    'GuidedTask',
    'Instructor',
    'LabelEncoder',
    'LabelGuidedDistiller',
    'MapLayers',
    'ObjectAttention',
    'Objects',
    'PoseTask',
    'SegmentationTask',
    'TaskSettings',
    'box_descriptors',
    'boxes_of_batch',
    'cells_in_boxes',
    'label_guided_distance',
    'object_means',
    'painted',
    'task_of',
]
