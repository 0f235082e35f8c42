"""Networks for recipes: modules with the class names of OpenMMLab's parts, and nothing in them that runs."""

from torch import nn

from kd_plugins.suggestions.recipe import Network, Pair


def part(*names, **attributes):
    """Return a module whose class and bases have these names, the most general one last."""
    made = nn.Module
    for name in reversed(names):
        made = type(name, (made,), {})
    module = made()
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


def pair(features='neck.fpn_convs.*', teacher_features=None, **parts):
    """Return a student with these parts, taught by itself or by a network that differs in the tap of its maps."""
    facts = dict(batch_size=2, length=12, by_epoch=True, pipeline=parts.pop('pipeline', ()))
    deep = parts.pop('deep', None)
    model = nn.ModuleDict(parts)
    student = Network(model, features, deep=deep, **facts)
    return Pair(student, Network(model, teacher_features, **facts) if teacher_features else student)


GFL = part('GFLHead', reg_max=16, prior_generator=None)
RTMDET = part('RTMDetSepBNHead', with_objectness=True, exp_on_reg=False)
STEPS = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='CachedMosaic'),
    dict(type='mmdet.Resize', scale=(320, 240)),
    dict(type='PackDetInputs'),
]
"""A pipeline of labelled images."""
