"""Recognition of heads by their class names, so that no detection library needs to be imported."""

from __future__ import annotations

from torch import nn

FDR_OF = {'DINOHead': 'FDRDINO', 'DeformableDETRHead': 'FDRDeformableDETR', 'DABDETRHead': 'FDRDABDETR'}
"""MMDetection's heads for which there is a detector with edge distributions."""

ROI_ALTERNATIVE = (
    "nearest: RoIDistiller, which asks the teacher about the student's proposals, or FeatureDistiller("
    "student_tap='neck.fpn_convs.*'), which compares the maps that proposals are read from"
)


def is_a(module: nn.Module, name: str) -> bool:
    """Return whether a module's class or one of its bases has this name.

    >>> is_a(nn.Conv2d(1, 1, 1), 'Module'), is_a(nn.Conv2d(1, 1, 1), 'Linear')
    (True, False)
    """
    return any(cls.__name__ == name for cls in type(module).__mro__)


def lineage(model: nn.Module, path: str) -> list[nn.Module]:
    """Return the model and every module on the path, the module at ``path`` last.

    >>> [type(module).__name__ for module in lineage(nn.ModuleDict({'a': nn.ReLU()}), 'a')]
    ['ModuleDict', 'ReLU']
    """
    parts = path.split('.')
    return [model, *(model.get_submodule('.'.join(parts[: end + 1])) for end in range(len(parts)))]


def roi_head(model: nn.Module) -> tuple[str, nn.Module] | None:
    """Return the path and the module of the model's first RoI head, None if it has none."""
    return next(((name, module) for name, module in model.named_modules() if is_a(module, 'BaseRoIHead')), None)


def has_distributions(head: nn.Module) -> bool:
    """Return whether a head predicts a distribution over box edges at fixed locations, as the GFL family does."""
    return hasattr(head, 'reg_max') and hasattr(head, 'prior_generator')


def why_no_distribution(model: nn.Module, path: str) -> str:
    """Return the reason why no other network can teach the head at ``path`` a distribution, and the nearest choice.

    Args:
        model: The network.
        path: Path of the head.

    Returns:
        The end of an error sentence that has named the head's class.
    """
    head = model.get_submodule(path)
    class_name = type(head).__name__
    plain = 'which predicts no distribution over box edges'
    if is_a(head, 'FDRHead'):
        return (
            'which predicts distributions for queries, and other networks have other queries; nearest: '
            'QueryDistiller(edge_weight=1.0), which asks both networks about the same ones, loss_ddf of the head, '
            f"or StageLocalizationDistiller(logits='{path}.fdr.distributions.*', accumulate=True)"
        )
    if class_name in FDR_OF:
        name = f'kd_plugins.{FDR_OF[class_name]}'
        return (
            f"{plain}; nearest: model.type='{name}' with bbox_head.type='{name}Head', which has one in every decoder "
            'layer and lets the last teach the others'
        )
    if is_a(head, 'DETRHead'):
        return (
            f'{plain}; kd_plugins.FDRDINO, FDRDeformableDETR and FDRDABDETR do for their three detectors, and for '
            'other DETRs there are QueryDistiller, for a teacher of the same kind, and FeatureDistiller'
        )
    if any(is_a(module, 'BaseRoIHead') for module in lineage(model, path)):
        return f'{plain}, and whose proposals no other network shares by itself; {ROI_ALTERNATIVE}'
    return f'{plain}; GFLHead and LDHead do; for other heads there are BoxDistiller, LogitDistiller, FeatureDistiller'
