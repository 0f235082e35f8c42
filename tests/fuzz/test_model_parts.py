"""Every change of a model part of this package ends in a valid part or in one sentence that names the key."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.registry import MODELS, DefaultScope

from kd_plugins.config.loading import check_keys
from kd_plugins.registry import MODELS as OURS

from .judging import cases, judge
from .mutations import Mutation, Path, arguments_of, class_of, mutations
from .shipped import holding, shipped_config
from .worlds import load

pytestmark = pytest.mark.slow


def build_head(name: str, head: Any) -> None:
    """Build the head of a shipped detector with FDR, as the detector does."""
    check_keys({'model': {'bbox_head': head}})
    model = shipped_config(name).model
    detector = OURS.get(model.type)
    with DefaultScope.overwrite_default_scope('mmdet'):
        fitted = detector._fit_head(detector, copy.deepcopy(model.decoder), head)
        MODELS.build({**fitted, 'train_cfg': copy.deepcopy(model.train_cfg), 'test_cfg': model.test_cfg})


def build_segmentor(name: str, model: Any) -> None:
    """Build a shipped segmentor of volumes."""
    check_keys({'model': model})
    MODELS.build(model)


def parts(kind: str) -> list[str]:
    """Return the shipped configs whose model type begins with a text."""
    models = [(name, shipped_config(name).get('model') or {}) for name in holding(f"'{kind}")]
    return [name for name, model in models if str(model.get('type')).startswith(kind)]


@st.composite
def changed_heads(draw: st.DrawFn) -> tuple[str, Any, Mutation]:
    """Return a config, its head with one change of what this package adds, and the change."""
    name = draw(st.sampled_from(parts('kd_plugins.FDR')))
    load('mmdet')
    head = copy.deepcopy(shipped_config(name).model.bbox_head.to_dict())
    ours = set(arguments_of(class_of(head))) - {'num_decoder_layers'}  # the detector sets it

    def owned(path: Path) -> bool:
        foreign = path[0] == 'loss_proposal_cls' and len(path) > 1
        return path == ('type',) or path[0] == 'loss_cls' or (path[0] in ours and not foreign)

    return name, head, draw(mutations(head, owned))


@st.composite
def changed_segmentors(draw: st.DrawFn) -> tuple[str, Any, Mutation]:
    """Return a config, its model with one change, and the change."""
    name = draw(st.sampled_from(parts('kd_plugins.VolumetricSegmentor')))
    model = copy.deepcopy(shipped_config(name).model.to_dict())
    return (
        name,
        model,
        draw(mutations(model, lambda path: (len(path) == 1 and path != ('type',)) or path[1:] == ('type',))),
    )


def outcome_of(build: Any, name: str, config: Any) -> BaseException | None:
    """Return the error of a build, or ``None``."""
    try:
        build(name, config)
    except Exception as error:
        return error
    return None


@cases(40)
@given(changed_heads())
def test_changed_head(case: tuple[str, Any, Mutation]) -> None:
    name, head, change = case
    judge('FDR heads', name, outcome_of(build_head, name, head), [change], ours=False)


@cases(20)
@given(changed_segmentors())
def test_changed_segmentor(case: tuple[str, Any, Mutation]) -> None:
    name, model, change = case
    judge('segmentors', name, outcome_of(build_segmentor, name, model), [change], ours=False)
