"""Dispatch of the ``kd_plugins`` command to the module of a subcommand.

The table can be read without PyTorch and MMEngine: a module is imported when its subcommand runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import NamedTuple

from .. import load
from ..errors import nearest
from ..version import __version__

USAGE_ERROR = 2


class Command(NamedTuple):
    """A subcommand.

    Attributes:
        module: Module of this package with ``parser()`` and ``main(arguments)``.
        summary: One line for ``--help``.
        leading: Arguments to put before those of the user, where one module serves several subcommands.
        bare: Whether it runs where PyTorch or MMEngine cannot be imported.
    """

    module: str
    summary: str
    leading: tuple[str, ...] = ()
    bare: bool = False


class Group(NamedTuple):
    """Subcommands under one name.

    Attributes:
        commands: Name to subcommand.
        summary: One line for ``--help``.
    """

    commands: Mapping[str, Command | Group]
    summary: str


SHOW = Group(
    {
        'gradients': Command('show_gradients', 'table: gradient of each term relative to the gradient of the task'),
        'graph': Command('show_graph', 'picture: points and neighbours of a local graph'),
        'keypoints': Command('show_keypoints', 'picture: keypoints of ground truth, teacher and student'),
        'label-guide': Command('show_label_guide', 'picture: objects whose embeddings paint the maps of LGD'),
        'layer-ap': Command('show_layer_ap', 'table: AP of each decoder layer of a DETR'),
        'levels': Command('show_levels', 'picture: prediction of each level of a segmentation network'),
        'refinement': Command('show_refinement', "picture: D-FINE's boxes and edge distributions, layer by layer"),
        'views': Command('show_views', 'picture: training images as teacher and student see them'),
    },
    'show what a term or a model does: gradients, graph, keypoints, label-guide, layer-ap, levels, refinement, views',
)
DATA = Group(
    {
        'bccd': Command('data', 'fetch blood-cell micrographs with boxes', ('bccd',)),
        'lspet': Command('data', 'fetch photographs of athletes with joints', ('lspet',)),
        'isbi': Command('data', 'fetch electron-microscopy slices with membrane masks', ('isbi',)),
        'hippocampus': Command('data', 'fetch magnetic-resonance volumes with labels', ('hippocampus',)),
        'digits': Command('make_digits', 'make handwritten digits with COCO annotations'),
        'lidar-scenes': Command('make_lidar_scenes', 'make LiDAR scenes by casting rays'),
        'hippocampus-slices': Command(
            'make_hippocampus_slices', 'make slices with boxes and masks from hippocampus volumes'
        ),
    },
    'make or fetch a small data set: digits, lidar-scenes, hippocampus-slices, bccd, lspet, isbi, hippocampus',
)
ROOT = Group(
    {
        'train': Command('train', 'train a config'),
        'test': Command('test', 'evaluate a checkpoint'),
        'suggest': Command('suggest', 'print the distillation entries that fit a config, ready to paste'),
        'preflight': Command('preflight', 'check a config on one batch before training'),
        'doctor': Command('doctor', 'show what is installed, what is missing and the command that fixes it', bare=True),
        'compare': Command('compare', 'train configs over several seeds and compare their metrics'),
        'experiments': Command('experiments', 'train and test the arms of experiments that protocols describe'),
        'train-stages': Command('train_stages', 'train a chain of stages, each from checkpoints of earlier ones'),
        'convert': Command('convert', 'convert released weights of D-FINE or RT-DETR, or of a backbone, for a config'),
        'deploy': Command('deploy', 'fuse a trained model for inference'),
        'export': Command('export', 'export a trained D-FINE or RT-DETR to ONNX, and check the file with onnxruntime'),
        'score': Command('score', 'score how similar a student and a teacher are, without training'),
        'mixing-weight': Command('mixing_weight', 'estimate the weight of the labels for a further generation'),
        'overhead': Command('overhead', 'measure step time and memory of a config against a baseline'),
        'show': SHOW,
        'data': DATA,
    },
    'Knowledge distillation and self-distillation for OpenMMLab configs.',
)


def usage(name: str, group: Group) -> str:
    """Return the help text of a group.

    Args:
        name: The command line that leads to it.
        group: The group.
    """
    width = max(len(command) for command in group.commands)
    lines = [f'  {command.ljust(width)}  {entry.summary}' for command, entry in group.commands.items()]
    heading = f'usage: {name} COMMAND [ARGUMENTS]\n\n{group.summary[0].upper()}{group.summary[1:]}\n\ncommands:\n'
    return heading + '\n'.join(lines) + f"\n\n'{name} COMMAND --help' shows the arguments of a command."


def find(name: str, group: Group, arguments: Sequence[str]) -> tuple[Command, list[str]] | int:
    """Return the subcommand that arguments ask for and the arguments that are left for it.

    Args:
        name: The command line that leads to the group.
        group: The group to search.
        arguments: The words after it.

    Returns:
        The exit status instead, where help or an error was printed.
    """
    word = arguments[0] if arguments else ''
    if word in ('', '-h', '--help'):
        print(usage(name, group), file=sys.stdout if word else sys.stderr)
        return 0 if word else USAGE_ERROR
    entry = group.commands.get(word)
    if entry is None:
        what = 'option' if word.startswith('-') else 'command'
        print(f"error: {name} has no {what} '{word}'; {nearest(word, group.commands, 9)}", file=sys.stderr)
        return USAGE_ERROR
    if isinstance(entry, Group):
        return find(f'{name} {word}', entry, arguments[1:])
    return entry, [*entry.leading, *arguments[1:]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; return its exit status.

    Args:
        arguments: The words after ``kd_plugins``; by default those that Python was started with.
    """
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == 'strict':
        # Names of classes and the sign of a deviation may not be in the encoding of a terminal or of a pipe.
        sys.stdout.reconfigure(errors='backslashreplace')
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ['--version']:
        print(f'kd_plugins {__version__}')
        return 0
    target = find('kd_plugins', ROOT, words)
    if isinstance(target, int):
        return target
    command, left = target
    try:
        if not command.bare:
            load()
        module = import_module(f'{__package__}.{command.module}')
    except (ImportError, OSError, RuntimeError) as error:  # packages that do not fit together raise any of these
        if os.environ.get('KD_DEBUG', '0') not in ('', '0'):
            raise
        reason = ' '.join(f'{type(error).__name__}: {error}'.split())
        print(f'error: kd_plugins cannot start ({reason}); kd_plugins doctor prints the fix', file=sys.stderr)
        return USAGE_ERROR
    return int(module.main(left))
