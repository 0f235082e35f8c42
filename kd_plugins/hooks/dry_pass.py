"""One pass before training, from whose shapes the adapters are made."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from mmengine.dist import all_reduce, is_distributed

from ..errors import KDPluginsError
from ..utils.rng import forked_rng
from ..utils.sample_batch import NoSampleError, draw_batch
from ..utils.scratch_state import scratch_state
from .compiled import forget_compiled
from .optimizer import wrappers_of
from .session import DistillSession


def dry_pass(runner: Any, session: DistillSession) -> None:
    """Make the adapters of a run before its first iteration, from the shapes of one or two items of its data.

    The pass changes nothing that the run reads: the items are drawn in another process, the student runs without
    gradient on a copy of its state and outside of its wrapper, and the generators of random numbers are restored. Every
    rank runs it on the same items.

    Where no batch can be drawn (a stream of data, a loader of another kind, a system that does not fork processes) or
    the student takes its batch in a way of its own, the session makes the adapters in the first forward pass, and the
    log has one line about it. Only the run itself can give the shapes then.

    Args:
        runner: MMEngine's runner, in ``before_train``.
        session: A session that is attached to the student.

    Raises:
        KDPluginsError: If the shapes do not fit together, or a tap did not fire.
    """
    if session.recorded:
        # There is no distiller, and so no shape to read.
        session.create_adapters()
        return
    with forked_rng(), warnings.catch_warnings():
        # A warning about the batch or the model comes again in the first iteration.
        warnings.simplefilter('ignore')
        try:
            reason = _run(runner, session)
        finally:
            if session.unlabelled is not None:
                session.unlabelled.forget()
    # The compiler must not remember the size of this batch.
    forget_compiled()
    if reason is None:
        session.create_adapters()
    else:
        runner.logger.info(f'The adapters of the distillers are made in the first iteration, not before: {reason}.')


def _run(runner: Any, session: DistillSession) -> str | None:
    """Let the session record one pass; return the reason why it could not on some rank."""
    batch, reason = None, None
    try:
        batch = draw_batch(runner.train_dataloader)
        if session.unlabelled is not None and (session.unlabelled.used or session.runs_all):
            session.unlabelled.draw()
    except NoSampleError as error:
        reason = str(error)
    reason = _agreed(reason)
    if reason is not None:
        return reason
    student: Any = session.student
    wrappers = wrappers_of(runner.optim_wrapper)
    try:
        with scratch_state(student), torch.no_grad(), wrappers[0].optim_context(student), session.recording():
            student.train()
            student._run_forward(student.data_preprocessor(batch, True), mode='loss')
    except KDPluginsError:
        raise
    # A model may take its batch in another way. Where the fault lies in the batch, the first iteration reports it.
    except Exception as error:
        reason = f'a pass on two items gives {type(error).__name__} ({error})'
    else:
        reason = None if session.recorded else "it does not run with mode='loss', or returns no dict of losses"
    return _agreed(reason)


def _agreed(reason: str | None) -> str | None:
    """Return a reason if any rank has one, because adapters are made on all ranks together."""
    if not is_distributed():
        return reason
    failed = torch.tensor(float(reason is not None))
    all_reduce(failed, op='max')
    return (reason or 'another rank cannot') if failed else None
