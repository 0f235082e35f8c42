"""Command-line helpers: common options, and errors as one sentence."""

from __future__ import annotations

import os
import re
import sys
import traceback
import warnings
from argparse import Action, ArgumentParser, ArgumentTypeError, HelpFormatter, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import Any
from urllib.error import URLError

from mmengine.config import DictAction
from mmengine.registry import Registry

from ..errors import KDPluginsError, extra_note, missing_package, nearest
from .build import inherited_arguments
from .data_errors import NO_BATCH, building_sentence, data_sentence, log_traceback

USER_ERROR = 2
INTERRUPTED = 130
_UNREGISTERED = re.compile(r"['\"\\]*([\w.\-]+)['\"\\]* is not in the (?:([\w.]+)::)?(.+?) registry")
LOADERS = {
    'batch_size should be a positive integer': 'batch_size of a data loader is no whole number of 1 or more; set it, '
    'for example train_dataloader.batch_size=8',
    'num_workers option should be non-negative': 'num_workers of a data loader is below 0; nearest: 0',
    'persistent_workers option needs num_workers': 'a data loader with num_workers=0 has no workers to keep; set '
    'persistent_workers=False of that data loader, too',
    'prefetch_factor option could only be': 'a data loader with num_workers=0 loads nothing ahead; set '
    'prefetch_factor=None of that data loader, too',
}
"""Begin of an error of PyTorch's data loader to what to change in the config."""
_BUILDING = re.compile(r'class `(\w+)` in \S+\.py: ')


class OptionsAction(DictAction):
    """MMEngine's ``KEY=VALUE ...`` action, which keeps the spaces in a text; a sentence for what it cannot split."""

    @staticmethod
    def _parse_iterable(val: str) -> Any:
        """Return a value or a list of values; MMEngine removes every space, also those of paths and class names."""
        text = val.strip(' \'"')
        if ' ' not in text:
            return DictAction._parse_iterable(text)
        brackets = (text[0], text[-1])
        if brackets not in (('(', ')'), ('[', ']')):
            if ',' not in text:
                return DictAction._parse_int_float_bool(text)
            text = f'[{text}]'
        values = [OptionsAction._parse_iterable(part) for part in _parts(text[1:-1])]
        return tuple(values) if brackets == ('(', ')') else values

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        """Merge the pairs of one ``--cfg-options`` into the dict of earlier ones."""
        for value in values:
            if '=' not in value:
                parser.error(f"{option_string}: '{value}' has no '='; give KEY=VALUE, for example randomness.seed=1")
        try:
            super().__call__(parser, namespace, values, option_string)
        except (ValueError, AssertionError, ArgumentTypeError) as error:
            parser.error(f'{option_string}: {" ".join(values)} cannot be read: {error}')


def _parts(text: str) -> list[str]:
    """Return what lies between the commas of a text that are in no brackets, without an empty last part.

    >>> _parts('a b, (1, 2),')
    ['a b', ' (1, 2)']
    """
    parts, depth = [''], 0
    for character in text:
        depth += (character in '([') - (character in ')]')
        if character == ',' and depth == 0:
            parts.append('')
        else:
            parts[-1] += character
    if depth:
        raise ArgumentTypeError(f"the brackets of '{text}' do not match")
    return parts if parts[-1].strip() else parts[:-1]


def whole_number(minimum: int, maximum: int = 2**31 - 1) -> Callable[[str], int]:
    """Return the type of an argument that is a whole number.

    Args:
        minimum: Smallest valid number.
        maximum: Largest one.

    >>> whole_number(1)('2')
    2
    """

    def number(text: str) -> int:
        if not re.fullmatch('[+-]?[0-9]+', text.strip()) or not minimum <= int(text) <= maximum:
            raise ArgumentTypeError(f"'{text}' is no whole number from {minimum} to {maximum}")
        return int(text)

    return number


SEED = whole_number(0, 2**32 - 1)
"""Type of a seed, in the range of NumPy."""


def add_cfg_options(parser: ArgumentParser) -> None:
    """Add ``--cfg-options`` with OpenMMLab's meaning."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        default={},
        metavar='KEY=VALUE',
        help='change settings of the config: key=value, lists as key="[a,b]" or key=a,b, nested keys with dots',
    )


def parse_options(options: Sequence[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` strings as a dict, read as ``--cfg-options`` reads them.

    >>> parse_options(['train_cfg.max_epochs=2', 'model.strides=4,8'])
    {'train_cfg.max_epochs': 2, 'model.strides': [4, 8]}
    """
    parser = ArgumentParser()
    add_cfg_options(parser)
    return dict(parser.parse_args(['--cfg-options', *options] if options else []).cfg_options)


def add_launcher(parser: ArgumentParser) -> None:
    """Add ``--launcher`` and ``--local-rank`` with OpenMMLab's meaning."""
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='how the processes were started'
    )
    # `torch.distributed.launch` passes either spelling, by version.
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0, help='set by torch.distributed.launch')


class DefaultsFormatter(HelpFormatter):
    """Formatter of ``--help`` that names the default of each option whose text does not."""

    def _get_help_string(self, action: Action) -> str | None:
        text = action.help or ''
        switch = isinstance(action.default, bool) or action.default in (None, [], {}, '==SUPPRESS==')
        return text if switch or not action.option_strings or 'default' in text else f'{text} (default: %(default)s)'


def parse(parser: ArgumentParser, arguments: Sequence[str] | None = None) -> Namespace:
    """Parse arguments and set ``LOCAL_RANK`` where a launcher passed it as an option; ``--help`` names defaults."""
    parser.formatter_class = DefaultsFormatter
    args = parser.parse_args(arguments)
    if hasattr(args, 'local_rank'):
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def _registered(name: str) -> list[str]:
    """Return all names in the registries called ``name``; names of packages other than OpenMMLab's have their scope."""
    from mmengine import registry

    names: list[str] = []
    for root in vars(registry).values():
        if isinstance(root, Registry) and root.name == name:
            names.extend(root.module_dict)
            for scope, child in root.children.items():
                names.extend(entry if scope.startswith('mm') else f'{scope}.{entry}' for entry in child.module_dict)
    return names


def _nearest_argument(owner: str, text: str) -> str:
    """Return the arguments of a registered class that are nearest to an unexpected one, as the end of a sentence."""
    from mmengine import registry

    unexpected = re.search(r"unexpected keyword argument '(\w*)'", text)
    roots = [root for root in vars(registry).values() if isinstance(root, Registry)]
    nodes = [node for root in roots for node in (root, *root.children.values())]
    cls = next((node.module_dict[owner] for node in nodes if owner in node.module_dict), None)
    if unexpected is None or not isinstance(cls, type):
        return ''
    advice = nearest(unexpected.group(1), inherited_arguments(cls))
    return f'; {advice}' if advice.startswith('nearest') else ''


def _message(error: BaseException) -> str:
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if 'Original Traceback' in text:  # from a data-loading worker
        text = text.strip().splitlines()[-1].partition(': ')[2]
    return ' '.join(text.split())


def sentence_of(error: BaseException) -> str | None:
    """Return one sentence about an error that the user can act on.

    Args:
        error: The error.

    Returns:
        The sentence, or ``None`` for any other error, whose traceback is needed.

    >>> sentence_of(FileNotFoundError(2, 'No such file or directory', 'coco/train.json'))
    "'coco/train.json' does not exist"
    >>> sentence_of(ZeroDivisionError('division by zero')) is None
    True
    """
    text = _message(error)
    if isinstance(error, KDPluginsError):
        return _BUILDING.sub('', text)
    unregistered = _UNREGISTERED.search(text)
    if unregistered:
        name, scope, registry = unregistered.groups()
        where = f' of {scope}' if scope else ''
        return f"type='{name}' is not in the registry '{registry}'{where}; {nearest(name, _registered(registry))}"
    failed = re.fullmatch(r'Failed to get (.*)', text)  # of a registry, about a name that cannot be one
    if isinstance(error, RuntimeError) and failed:
        return f"type='{failed.group(1)}' is not in a registry; give the name of a class"
    if isinstance(error, ModuleNotFoundError):
        package = missing_package(error)
        if package is None:
            return f'a package cannot be imported ({text.rstrip(".")}); kd_plugins doctor prints the fix'
        return f"the package '{package}' is not installed{extra_note(package)}; kd_plugins doctor prints the command"
    if isinstance(error, FileNotFoundError):
        return f"'{error.filename}' does not exist" if error.filename else text
    if isinstance(error, URLError):
        from .urls import reason_of  # imports torch, which the commands that start fast do not

        return (
            f'a download failed ({reason_of(error)}), most likely of pretrained weights; name a file in '
            'init_cfg.checkpoint of the model, or set init_cfg=None'
        )
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"'{error.filename}': {error.strerror}"
    if isinstance(error, UnpicklingError):
        return f'a checkpoint cannot be read safely: {text.partition("WeightsUnpickler error: ")[2] or text}'
    if isinstance(error, AssertionError) and text.startswith('`epoch_length` must be a positive integer, but got 0'):
        return NO_BATCH  # of a scheduler that counts iterations of epochs
    lone = re.match(r'Expected more than 1 value per channel when training, got input size (.+)', text)
    if isinstance(error, ValueError) and lone:
        return (
            f'a normalisation layer got one value per channel (input of size {lone.group(1)}), which has no variance; '
            'give larger images, a larger train_dataloader.batch_size or, where the last batch holds one image, '
            'drop_last=True of train_dataloader or of its batch_sampler'
        )
    loader = next((advice for begin, advice in LOADERS.items() if text.startswith(begin)), None)
    if isinstance(error, ValueError) and loader is not None:
        return f'{loader} (PyTorch: {text})'
    if isinstance(error, ValueError) and text.startswith('batch_sampler option is mutually exclusive'):
        return (
            'a data loader with a batch_sampler takes no drop_last or shuffle; give drop_last to batch_sampler, or set '
            'batch_sampler=None'
        )
    constructor = re.search(r'(?:([\w.]+)\.)?__init__\(\) (got an unexpected|missing|got multiple).*', text)
    if isinstance(error, TypeError) and constructor:
        owner = (_BUILDING.findall(text) or [constructor.group(1) or 'a type of the config'])[-1]
        return f'{owner}: {text[constructor.start() :].partition("__init__() ")[2]}{_nearest_argument(owner, text)}'
    return None


@contextmanager
def one_sentence(after_interrupt: str = '') -> Iterator[None]:
    """Print an error that the user can act on as one sentence on stderr and exit with status 2.

    So is an error that a data set, a pipeline step, a metric or a constructor raises. Any other error keeps its
    traceback, below a first line that names it, and exits with status 1. ``KD_DEBUG=1`` shows every traceback; the log
    file holds it, too.

    Args:
        after_interrupt: How to continue after an interrupt (Ctrl-C).
    """
    # MMEngine's import of pkg_resources warns on every start.
    warnings.filterwarnings('ignore', message='pkg_resources is deprecated')
    try:
        yield
    except Exception as error:
        if os.environ.get('KD_DEBUG', '0') not in ('', '0'):
            raise
        rank = os.environ.get('RANK', '0')
        prefix = f'error (rank {rank}): ' if rank != '0' else 'error: '
        log_traceback(error)
        sentence = sentence_of(error) or data_sentence(error) or building_sentence(error)
        if sentence is None:
            print(f'{prefix}unexpected {type(error).__name__}: {_message(error)}', file=sys.stderr)
            traceback.print_exc()
            raise SystemExit(1) from None
        print(f'{prefix}{sentence}', file=sys.stderr, flush=True)
        raise SystemExit(USER_ERROR) from None
    except KeyboardInterrupt:
        if os.environ.get('KD_DEBUG', '0') not in ('', '0'):
            raise
        print(f'interrupted; {after_interrupt}' if after_interrupt else 'interrupted', file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


def note(text: str) -> None:
    """Print a remark on stderr, once per job and not once per rank."""
    if os.environ.get('RANK', '0') == '0':
        print(f'note: {text}', file=sys.stderr, flush=True)


__all__ = ['add_cfg_options', 'add_launcher', 'note', 'one_sentence', 'parse', 'sentence_of']
