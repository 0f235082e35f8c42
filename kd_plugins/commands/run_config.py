"""Arguments and config shared by ``kd_plugins train`` and ``kd_plugins test``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from mmengine.config import Config

from ..config.loading import load_config
from ..utils.cli import add_cfg_options, add_launcher


def add_run_options(parser: ArgumentParser, work_dir: str) -> None:
    """Add ``--skip-data-checks`` and OpenMMLab's options of a run: folder, settings and launcher.

    Args:
        parser: The parser.
        work_dir: Contents of the folder, for the help text.
    """
    parser.add_argument('--work-dir', help=f'folder of {work_dir}; default ./work_dirs/CONFIG_NAME')
    parser.add_argument(
        '--skip-data-checks', action='store_true', help='do not look at annotations, images and other files beforehand'
    )
    add_cfg_options(parser)
    add_launcher(parser)


def read_run_config(args: Namespace) -> Config:
    """Return the config as the options of :func:`add_run_options` change it.

    Raises:
        KDPluginsError: If the config cannot be read, or an option does not fit it.
    """
    config = load_config(args.config, args.cfg_options)
    config.launcher = args.launcher
    if args.work_dir is not None:
        config.work_dir = args.work_dir
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    return config
