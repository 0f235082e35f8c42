"""Start a head with more classes from the checkpoint of a head with fewer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop
from torch import Tensor, nn

from ..checkpoints import compare_weights, weights_of
from ..errors import ConfigError, nearest
from ..ops.class_rows import is_class_major, rows_by_class
from ..registry import HOOKS
from ..teachers.classes import class_names
from ..utils.argument_types import shown
from .distill_hook import DistillHook
from .run_checks import student_of

NAME = 'custom_hooks: ClassRowsHook'


@HOOKS.register_module()
class ClassRowsHook(Hook):
    """Fill the class layers of a head by class name from ``load_from``, a checkpoint with other classes.

    MMEngine leaves out every tensor of ``load_from`` whose shape differs, so that a detector with a new class would
    forget all classes in its last layers. This hook puts the rows of the classes that both know in their places, and
    the rows of new classes keep their own start. Known layouts are those of
    :func:`~kd_plugins.ops.class_rows.rows_by_class`: one row for each class, with anchors, with a row for the
    background, and boxes for each class. Tensors of equal shape are loaded as usual; equally
    many classes with other names are refused.

    A run without ``load_from`` is refused, because nothing would be filled. A resumed run and a model that is tested
    keep their own weights.

    Args:
        classes: Names of the classes of the checkpoint in the order of its rows; None reads them from the checkpoint.

    Raises:
        ConfigError: If the names are not known, or no tensor differs in its classes.
    """

    def __init__(self, classes: Sequence[str] | None = None) -> None:
        if classes is not None and (isinstance(classes, str) or len(set(classes)) < len(classes) or not classes):
            raise ConfigError(f'{NAME}.classes is {shown(classes)}; valid: None, or the different names of the classes')
        self.classes = None if classes is None else tuple(classes)
        self.filled: list[str] = []
        """Names of the tensors that were filled."""
        self._loaded = False

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Fill the rows in the checkpoint, before MMEngine copies it into the model."""
        if not _begins_training(runner):
            return
        self._loaded = True
        student = student_of(runner)
        mismatched = compare_weights(weights_of(checkpoint), student.state_dict()).mismatched
        if runner._resume:
            return
        classes = next(iter(class_names(getattr(runner.train_dataloader.dataset, 'metainfo', None))), None)
        earlier = self._earlier(checkpoint)
        if classes is None:
            raise ConfigError(f'{NAME}: train_dataloader.dataset has no names of classes; set metainfo.classes there')
        if not mismatched and earlier == classes:
            runner.logger.info(f'{NAME}: load_from has the classes of this run, so its rows are loaded as they are.')
            return
        if not set(earlier) & set(classes):
            raise ConfigError(
                f'{NAME}: load_from knows {shown(list(earlier))} and train_dataloader.dataset has '
                f'{shown(list(classes))}, which share no class; {nearest(earlier[0], list(classes))}'
            )
        state = checkpoint.get('state_dict', checkpoint)
        self.filled = fill_rows(state, student, sorted(mismatched), earlier, classes)
        if not self.filled:
            shapes = [
                f"'{name}' has the shape {theirs} there and {ours} here" for name, (theirs, ours) in mismatched.items()
            ]
            raise ConfigError(
                f'{NAME}: load_from knows {shown(list(earlier))} and train_dataloader.dataset has '
                f'{shown(list(classes))}, and no layer differs in its classes alone '
                f'({shapes[0] if shapes else "all shapes agree"}); use a checkpoint of the same network with '
                'fewer classes'
            )
        new = [name for name in classes if name not in earlier]
        runner.logger.info(
            f'{NAME}: {len(self.filled)} tensors ({", ".join(self.filled)}) have the rows of '
            f'{", ".join(name for name in classes if name in earlier)} from load_from; '
            f'those of {", ".join(new) or "no class"} keep their own start.'
        )

    def _earlier(self, checkpoint: dict[str, Any]) -> tuple[str, ...]:
        if self.classes is not None:
            return self.classes
        meta = (checkpoint.get('meta') or {}).get('dataset_meta')
        names = next(iter(class_names(meta)), None)
        if names is None:
            raise ConfigError(f'{NAME}.classes is None, and load_from does not name its classes; give their names')
        return names

    def before_train(self, runner: Any) -> None:
        """Refuse a new run that has loaded no checkpoint; a command that only inspects a config may lack it."""
        inspected = any(isinstance(hook, DistillHook) and hook.inspected for hook in runner.hooks)
        if runner.iter == 0 and not self._loaded and not inspected:
            raise ConfigError(
                f'{NAME} fills a head from load_from, which is None; set it to the checkpoint of the earlier task, for '
                "example 'work_dirs/NAME/epoch_16.pth'"
            )


def _begins_training(runner: Any) -> bool:
    """Return whether a checkpoint that is loaded now is the start of a training, and not a model to evaluate."""
    if isinstance(runner._train_loop, BaseLoop):
        return int(runner.iter) == 0
    return not any(isinstance(loop, BaseLoop) for loop in (runner._val_loop, runner._test_loop))


def fill_rows(
    state: dict[str, Any], student: nn.Module, names: Sequence[str], earlier: Sequence[str], classes: Sequence[str]
) -> list[str]:
    """Give tensors of a checkpoint the shapes of the student, with rows by class name.

    Args:
        state: Name to tensor of the checkpoint, changed in place; names may begin with ``module.``.
        student: The student.
        names: Names of the tensors whose shapes differ, as in the student.
        earlier: Names of the classes of the checkpoint.
        classes: Names of the classes of the student.

    Returns:
        Names of the tensors that were filled.
    """
    own: dict[str, Tensor] = student.state_dict()
    filled = []
    for key in list(state):
        name = key.removeprefix('module.')
        if name not in names:
            continue
        rows = rows_by_class(state[key], own[name], earlier, classes, is_class_major(name))
        if rows is not None:
            state[key] = rows
            filled.append(name)
    return filled
