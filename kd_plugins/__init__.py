"""Self-distillation for OpenMMLab models by config inheritance.

Importing the package registers its parts and lets MMEngine resume from its own checkpoints on recent PyTorch. It needs
MMEngine alone; MMDetection, MMPose and the others are imported where they are used.
"""

from . import adapters, distillers, hooks, losses, schedules, teachers
from .compat import allow_pose_visualizer, allow_resume, register_config_package
from .version import __version__

allow_pose_visualizer()
allow_resume()
register_config_package()

__all__ = ['__version__', 'adapters', 'distillers', 'hooks', 'losses', 'schedules', 'teachers']
