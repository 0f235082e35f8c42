"""Compare the gradients of distillation terms with those of the task on a few batches of a run."""

from __future__ import annotations

from typing import Any

import torch

from ..hooks.observer import StepObserver
from ..hooks.unlabelled import PSEUDO
from ..runner.steps import batches, distill_hook, drive
from .alignment import Alignment, Rows, alignments
from .preflight import forward_losses, separate_teacher
from .preflight_terms import peak_weight


def measure(runner: Any, checkpoint: str | None, count: int, depth: int) -> dict[str, Rows]:
    """Return term to module to alignment, each term at the largest weight of the run.

    Args:
        runner: A runner that is used for nothing else, with a DistillHook.
        checkpoint: Checkpoint to resume from, which also restores teacher and heads; ``None`` for the first step.
        count: Number of batches to sum over.
        depth: Number of parts of a path that name a module.
    """
    hook = distill_hook(runner)
    assert hook is not None
    observer = StepObserver(runs_all=True)
    hook.subscribe(observer)
    if checkpoint is not None:
        runner._load_from, runner._resume = checkpoint, True
    result: dict[str, Rows] = {}

    def body() -> None:
        model = runner.model
        if checkpoint is None:
            separate_teacher(hook, model)
        parameters = [(name, param) for name, param in model.named_parameters() if param.requires_grad]
        length = len(runner.train_dataloader)
        names = [*hook.distillers, *([PSEUDO] if hook.unlabelled is not None else [])]
        peaks = {name: peak_weight(hook, name, runner.max_iters, length) for name in names}
        for index, batch in enumerate(batches(runner, count)):
            _, task = forward_losses(runner, index, batch)
            assert observer.report is not None
            terms = {term.key: peaks[term.distiller] * term.raw for term in observer.report.terms}
            for term, rows in alignments(torch.stack(list(task.values())).sum(), terms, parameters, depth).items():
                for module, row in rows.items():
                    result.setdefault(term, {}).setdefault(module, Alignment()).add(row)

    drive(runner, body)
    return result
