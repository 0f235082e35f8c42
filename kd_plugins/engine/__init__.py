"""From a config file to a runner, with the checks that turn a late failure into an early sentence."""

from .checks import check_classes, check_data, check_trainable
from .config import load_config, register_scope
from .launch import build_runner, has_accelerator, set_resume, write_run_record

__all__ = [
    'build_runner',
    'check_classes',
    'check_data',
    'check_trainable',
    'has_accelerator',
    'load_config',
    'register_scope',
    'set_resume',
    'write_run_record',
]
