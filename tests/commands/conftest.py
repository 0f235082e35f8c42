"""Fixtures of the tests of subcommands."""

from tests.command_runs import run
from tests.visualization.trained import detectors, fdr_files, people, people_folder, slices

__all__ = ['detectors', 'fdr_files', 'people', 'people_folder', 'run', 'slices']
