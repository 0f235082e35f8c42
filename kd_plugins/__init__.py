"""Knowledge distillation and self-distillation for OpenMMLab models by config inheritance.

Importing the package registers its parts and lets MMEngine resume from its own checkpoints on recent PyTorch. It needs
MMEngine alone; MMDetection, MMPose and the others are imported where they are used.
"""

import sys
from importlib import import_module
from pathlib import PurePath

from .version import __version__

PARTS = ('adapters', 'distillers', 'hooks', 'losses', 'schedules', 'teachers', 'views')


def load() -> None:
    """Import the registered parts and prepare MMEngine and MMPose; a second call changes nothing."""
    for name in PARTS:
        import_module(f'{__name__}.{name}')
    import_module(f'{__name__}.compat').prepare()


def _is_console_command() -> bool:
    """Whether Python was started as ``kd_plugins ...`` or as ``python -m kd_plugins ...``."""
    first = (getattr(sys, 'argv', None) or [''])[0]
    if first == '-m':  # Python has not replaced it yet while it imports the package
        return ('-m', 'kd_plugins') in zip(sys.orig_argv, sys.orig_argv[1:])
    return PurePath(first).stem == 'kd_plugins'


# The console command calls `load` when it knows the subcommand: `--help` has to be fast, and `doctor` has to run where
# PyTorch or MMEngine cannot be imported.
if not _is_console_command():
    load()

__all__ = ['PARTS', '__version__', 'load']
