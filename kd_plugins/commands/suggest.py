"""Print the distillation entries that fit a config, ready to paste: ``kd_plugins suggest CONFIG [--teacher CONFIG]``.

The model runs once on generated data, to find the layers to tap. Every entry is then tried in a training step, so what
is printed passes preflight. The entries with the best evidence come first; the methods that do not fit come last, each
with the reason. Writes nothing.
"""

from __future__ import annotations

import textwrap
import warnings
from argparse import ArgumentParser
from collections.abc import Sequence

from mmengine.config import Config

from ..checkpoints import load_checkpoint
from ..config.hook_entries import NAME
from ..config.loading import load_config
from ..config.reading import is_new_style
from ..suggestions.features import FOUNDATION
from ..suggestions.own import OWN, average
from ..suggestions.recipe import Pair, Settings, Suggestion
from ..suggestions.taught import TAUGHT
from ..suggestions.text import assignment, update
from ..suggestions.trial import HOOK, network_of, suggestions
from ..utils.cli import add_cfg_options, one_sentence, parse

PLACEHOLDERS = {
    'kd_plugins.FrozenTeacher': 'work_dirs/teacher/last.pth',
    'kd_plugins.BackboneTeacher': f'checkpoints/{FOUNDATION}.safetensors',
}
"""Type of a teacher to the file that its entry names, where the command does not know it."""


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins suggest', description='Print the distillation entries that fit a config, ready to paste'
    )
    built.add_argument('config', help='config file, or package::path of an installed OpenMMLab package')
    built.add_argument('--teacher', metavar='CONFIG', help='config of a trained network that can teach')
    built.add_argument('--checkpoint', metavar='FILE', help='checkpoint of --teacher')
    add_cfg_options(built)
    return built


def entry_text(settings: Settings, updates: bool = False, replaces: bool = False) -> str:
    """Return an entry as lines of a config.

    Args:
        settings: Settings of the hook.
        updates: Whether to change ``default_hooks`` and not to assign it, see
            :func:`~kd_plugins.config.reading.is_new_style`.
        replaces: Whether the config that is inherited has an entry, with which MMEngine would merge this one.

    >>> print(entry_text({'teacher': None, 'distillers': {'dsd': {'type': 'kd_plugins.DualSelfDistiller'}}}))
    default_hooks = dict(
        distill=dict(
            type='kd_plugins.DistillHook',
            distillers=dict(dsd=dict(type='kd_plugins.DualSelfDistiller')),
        ),
    )
    """
    given = {key: value for key, value in settings.items() if value is not None}
    entry = {**({'_delete_': True} if replaces else {}), 'type': HOOK, **given}
    return (update if updates else assignment)('default_hooks', {NAME: entry})


def imports_text(config: Config) -> str:
    """Return the line that imports this package, and what the inherited config imports: MMEngine replaces the list.

    Args:
        config: The inherited config.

    >>> imports_text(Config({'custom_imports': {'imports': ['my_models']}}))
    "custom_imports = dict(imports=['my_models', 'kd_plugins'], allow_failed_imports=False)"
    """
    given = config.get('custom_imports') or {}
    imports = given.get('imports') or []
    names = list(dict.fromkeys([*([imports] if isinstance(imports, str) else imports), 'kd_plugins']))
    allowed = bool(given.get('allow_failed_imports', False))
    return assignment('custom_imports', dict(imports=names, allow_failed_imports=allowed))


def comment(text: str) -> str:
    """Return text as comment lines.

    >>> comment('Cost: nothing.')
    '# Cost: nothing.'
    """
    return textwrap.fill(' '.join(text.split()), 118, initial_indent='# ', subsequent_indent='#   ')


def show(found: Sequence[Suggestion], config: Config) -> None:
    """Print the suggestions for a config."""
    fitting = [entry for entry in found if not entry.reason]
    new_style = is_new_style(config)
    updates = new_style and 'default_hooks' in config
    replaces = not new_style and bool((config.get('default_hooks') or {}).get(NAME))
    if fitting and new_style:  # MMEngine reads no custom_imports there, and finds the names by their scope
        print('# Add to a config that reads yours in `with read_base():`')
    elif fitting:
        print('# Add to a config that inherits yours:')
        print(imports_text(config))
    for number, entry in enumerate(fitting, start=1):
        recipe = entry.recipe
        adapters = f'; {entry.parameters / 1e6:.2g} M parameters, in training only' if entry.parameters else ''
        print(f'\n{comment(f"{number}. {recipe.title}")}')
        print(comment(f'Evidence: {recipe.evidence}.'))
        print(comment(f'Cost: {recipe.cost}{adapters}.'))
        print(entry_text(entry.settings, updates, replaces))
    print('\n# Does not fit this model:' if len(fitting) < len(found) else '')
    for entry in found:
        if entry.reason:
            print(comment(f'* {entry.recipe.title}: {entry.reason}.'))


def suggested(config: Config, teacher: str | None, checkpoint: str | None = None) -> list[Suggestion]:
    """Return the suggestions for a config.

    Args:
        config: The config.
        teacher: Config of the network that teaches; None for the methods that need no other network.
        checkpoint: Checkpoint of the teacher; its weights are random where it is not given.

    Raises:
        KDPluginsError: If the teacher's config cannot be read, or no data can be generated for one of them.
    """
    student = network_of(config)
    if teacher is None:
        return suggestions(config, OWN, Pair(student, student), average(student))
    entry = dict(type='kd_plugins.FrozenTeacher', config=teacher, checkpoint=checkpoint)
    return suggestions(config, TAUGHT, Pair(student, network_of(load_config(teacher))), entry)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the suggestions; return the exit status, 1 where no method fits."""
    built = parser()
    args = parse(built, arguments)
    if args.checkpoint and not args.teacher:
        built.error('--checkpoint is that of --teacher; give both')
    warnings.simplefilter('ignore')
    with one_sentence():
        config = load_config(args.config, args.cfg_options)
        if args.checkpoint:
            load_checkpoint(args.checkpoint, '--checkpoint')  # else each entry would be refused for it
        found = suggested(config, args.teacher, args.checkpoint)
        for entry in found:
            teacher = entry.settings.get('teacher') or {}
            if 'checkpoint' in teacher:
                teacher['checkpoint'] = args.checkpoint or PLACEHOLDERS[teacher['type']]
        show(found, config)
    return int(all(entry.reason for entry in found))
