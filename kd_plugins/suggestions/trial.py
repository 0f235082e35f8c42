"""Trial of suggested entries: one training step with all of them, less those that are refused."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from mmengine.config import Config

from ..config.data_checks import check_trainable
from ..config.hook_entries import NAME, is_distill_hook
from ..diagnostics.preflight import inspect
from ..errors import KDPluginsError
from ..hooks.run_checks import student_of
from ..runner.steps import distill_hook, drive, temporary_runner
from ..stages.checkpoint_selection import averages
from .recipe import DEEP, Network, Pair, Recipe, Settings, Suggestion, Unsuitable
from .tracing import CallTrace

HOOK = 'kd_plugins.DistillHook'


def network_of(config: Config) -> Network:
    """Run the network of a config once on generated data, and return what recipes know about it.

    Args:
        config: The config; it is not changed.

    Raises:
        KDPluginsError: If no data can be generated for it, or nothing can be distilled into it.
    """
    check_trainable(config, str(config.filename))
    plain = without_distillation(config)
    loader = config.train_dataloader
    facts: dict[str, Any] = dict(
        batch_size=loader.get('batch_size', 1),
        pipeline=copy.deepcopy(pipeline_of(loader.get('dataset') or {})),
        averaged=averages(config),
        **_length(config),
    )
    with temporary_runner(plain, generated=True) as (runner, _):

        def body() -> None:
            student_of(runner)  # refuses semi-supervised detectors, whose batches have branches
            batch = next(iter(runner.train_dataloader))
            trace = CallTrace(runner.model)
            inputs = runner.model.data_preprocessor(batch, True)
            with torch.no_grad(), trace.recording():
                runner.model(**inputs, mode='loss')
            images = inputs['inputs']
            rows = -(-images.shape[2] // DEEP) if isinstance(images, torch.Tensor) and images.ndim == 4 else 0
            facts.update(features=trace.feature_tap(), deep=trace.level_tap(rows))

        drive(runner, body)
        return Network(runner.model, **facts)


def pipeline_of(dataset: Mapping[str, Any]) -> list[Settings]:
    """Return the steps that an image of a data set goes through: those of a wrapped data set, and of its wrapper.

    Of several data sets, the first counts.
    """
    inner = dataset.get('dataset') or next(iter(dataset.get('datasets') or ()), None)
    steps = pipeline_of(inner) if isinstance(inner, Mapping) else []
    return [*steps, *(dataset.get('pipeline') or [])]


def _length(config: Config) -> dict[str, Any]:
    train = config.get('train_cfg') or {}
    by_epoch = bool(train.get('max_epochs'))
    return dict(by_epoch=by_epoch, length=int(train.get('max_epochs' if by_epoch else 'max_iters') or 1))


def without_distillation(config: Config) -> Config:
    """Return a copy of a config without its distillation entry."""
    plain = copy.deepcopy(config)
    hooks = plain.get('default_hooks') or {}
    for name in [name for name, entry in hooks.items() if name == NAME or is_distill_hook(entry)]:
        del hooks[name]
    if plain.get('custom_hooks'):
        plain.custom_hooks = [entry for entry in plain.custom_hooks if not is_distill_hook(entry)]
    return plain


def suggestions(config: Config, recipes: Sequence[Recipe], pair: Pair, teacher: Settings) -> list[Suggestion]:
    """Return one suggestion for each recipe in their order, those of methods that do not fit last.

    Args:
        config: The student's config.
        recipes: The methods.
        pair: Both networks.
        teacher: The entry of the teacher, for recipes that need one.
    """
    made = []
    for recipe in recipes:
        try:
            made.append(Suggestion(recipe, {'teacher': dict(teacher), **recipe.settings(pair)}))
        except Unsuitable as reason:
            made.append(Suggestion(recipe, reason=str(reason)))
    fitting = sorted((entry for entry in made if not entry.reason), key=_shared)
    for _, group in groupby(fitting, key=_shared):
        _try(config, {entry.recipe.name: entry for entry in group})
    return sorted(made, key=lambda entry: bool(entry.reason))


def _shared(entry: Suggestion) -> str:
    """Return the settings that entries must have in common to be tried in one step, as text."""
    return repr({key: value for key, value in entry.settings.items() if key != 'distillers'})


def _try(config: Config, entries: dict[str, Suggestion]) -> None:
    """Run one step with all entries, take out those that are refused, and write the reason into them."""
    while entries:
        settings = next(iter(entries.values())).settings
        members = {
            f'{name}_{member}': copy.deepcopy(distiller)
            for name, entry in entries.items()
            for member, distiller in entry.settings['distillers'].items()
        }
        try:
            refused = dict(_step(config, {**settings, 'distillers': members}, entries))
        except KDPluginsError as error:
            owner = re.search(r'distillers\.(\w+)', str(error))
            name = next((name for name in entries if owner and owner[1].startswith(f'{name}_')), None)
            refused = {name: str(error)} if name else dict.fromkeys(entries, str(error))
        for name, reason in refused.items():
            entries.pop(name).reason = reason.replace(f'distillers.{name}_', 'distillers.')
        if not refused:
            return


def _step(config: Config, settings: Settings, entries: Mapping[str, Suggestion]) -> Iterator[tuple[str, str]]:
    """Yield name and reason of the entries that teach nothing in a step."""
    tried = without_distillation(config)
    tried.default_hooks = {**(tried.get('default_hooks') or {}), NAME: {'type': HOOK, **settings}}
    with temporary_runner(tried, generated=True) as (runner, _):
        hook = distill_hook(runner)
        result = inspect(runner, generated=True)
        assert hook is not None
        for name, entry in entries.items():
            own = [member for label, member in hook.distillers.items() if label.startswith(f'{name}_')]
            entry.parameters = sum(value.numel() for member in own for value in member.parameters())
            problems = [text for text in result.problems if f"'distill.{name}_" in text]
            if problems:
                yield name, problems[0]
