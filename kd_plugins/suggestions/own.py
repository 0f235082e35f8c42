"""Recipes without another network: unlabelled images, the levels of one network, and the student's own average."""

from __future__ import annotations

from .features import channel_wise, foundation
from .guided import label_guided
from .heads import LOCALIZATION_TITLE, localization, scores
from .queries import same_queries
from .recipe import Network, Pair, Recipe, Settings, Unsuitable
from .segmentors import own_labels
from .softened import softened
from .unlabelled import pseudo_labels, unlabelled_pixels, unlabelled_scores


def dual_self(pair: Pair) -> Settings:
    """Return the entry of dual self-distillation for the networks whose levels are known."""
    student = pair.student
    if student.part('decode_head') is None:
        raise Unsuitable('the model has no decode_head; name the levels of a UNet or of a volumetric network by hand')
    if student.has_type('backbone', 'UNet') and student.part('backbone.encoder.4') is not None:
        levels: Settings = dict(
            encoder=[f'backbone.encoder.{level}' for level in range(4)],
            decoder=['backbone.encoder.4', *(f'backbone.decoder.{level}' for level in (3, 2, 1))],
        )
    elif student.has_type('neck', 'FPN') and student.has_type('backbone', 'ResNet'):
        levels = dict(encoder='backbone.layer*', decoder='neck.fpn_convs.*')
    else:
        raise Unsuitable(f'the levels of {type(student.part("backbone")).__name__} are not known; name them by hand')
    dsd = dict(type='kd_plugins.DualSelfDistiller', upsample='interpolate', **levels)
    return dict(teacher=None, distillers=dict(dsd=dsd))


def average_scores(pair: Pair) -> Settings:
    """Return the entry of class scores from the student's average."""
    return dict(distillers=dict(logits=scores(pair)))


def average(network: Network) -> Settings:
    """Return the teacher that is the average of the student, the one of the run's EMAHook where it has one."""
    if network.averaged:
        return dict(type='kd_plugins.EMATeacher', share='EMAHook')
    return dict(type='kd_plugins.EMATeacher', momentum=2e-4)


UNLABELLED = 'a second pass over as many unlabelled images, and one of the average: about 2.3 times a plain step'
AVERAGE = 'one forward pass of the average'
NO_GAIN = 'measured here on blood cells: +0.2 AP [-1.8, +2.2], inside the noise'

OWN = (
    Recipe(
        'unlabelled_scores',
        'unlabelled images: scores and boxes where the average is sure (Dense Teacher, arXiv 2207.02541)',
        'measured here, three seeds each: 24 labelled and 776 unlabelled images of digits 26.3 to 30.5 AP '
        '[+1.6, +6.8]; 73 and 219 of blood cells 46.2 to 48.9 [+1.3, +4.0]; no gain where it began before the average '
        'found every class',
        UNLABELLED,
        unlabelled_scores,
    ),
    Recipe(
        'unlabelled_pixels',
        'unlabelled images: classes of the pixels where the average is sure (UniMatch, arXiv 2208.09910)',
        'published: Pascal VOC with 92 labelled images 45.1 to 75.2 mIoU; measured here with 5 labelled and 19 '
        'unlabelled slices of membranes: -0.2 mIoU [-0.7, +0.2], inside the noise; all labels would add 1.0',
        UNLABELLED,
        unlabelled_pixels,
    ),
    Recipe(
        'pseudo_labels',
        "unlabelled images: the average's confident predictions as labels (Unbiased Teacher, arXiv 2102.09480)",
        'published: Faster R-CNN with a tenth of COCO 26.9 to 34.7 AP (Soft Teacher); not measured here yet',
        UNLABELLED,
        pseudo_labels,
    ),
    Recipe(
        'dsd',
        'dual self-distillation of the levels of one network (DSD)',
        'measured here: a wide UNETR on 16 volumes 74.7 to 78.5 Dice, +3.8 [+2.0, +5.7], five folds; no gain where '
        'nothing overfits',
        'an auxiliary head for each level',
        dual_self,
    ),
    Recipe(
        'softened',
        'softened targets: the label, and more and more of the prediction of one epoch ago (PS-KD, arXiv 2006.12000)',
        'measured here on a Faster R-CNN, five seeds: calibration error .101 to .073, -.028 [-.041, -.014], AP +0.2 '
        '[-1.3, +1.6]; on a UNet, three folds: no smaller calibration error, -0.6 mIoU [-1.2, +0.0]',
        'one forward pass of the student of one epoch ago: about 1.3 times a plain step',
        softened,
    ),
    Recipe(
        'label_guided',
        "feature maps made of the labels and of the student's own maps (LGD, arXiv 2109.11496)",
        'published for detectors: RetinaNet-R50 on COCO 36.2 to 39.0 AP, one run; not published for segmentors and '
        'pose estimators; measured here in 592 steps on blood cells: GFL +0.1 AP [-1.8, +2.0], '
        'Faster R-CNN -0.4 AP [-1.9, +1.1], UNet on membranes +0.4 mIoU [-0.4, +1.2]: inside the noise',
        "a second pass of the student's head, and eight convolutions on each of its maps: about 1.7 to 2.6 times a "
        'plain step',
        label_guided,
    ),
    Recipe(
        'foundation',
        'tokens of a foundation model, DINOv3 (RT-DETRv4, arXiv 2510.25257)',
        'published: +0.5 to +1.0 AP on COCO over DEIM with the same detector, one run each; not measured here',
        "a forward pass of the foundation model at half the image's size",
        foundation,
    ),
    Recipe(
        'uskd',
        'soft labels from the network and its auxiliary head (USKD, arXiv 2303.13005)',
        'measured here on a UNet, three folds: +0.1 mIoU [-0.3, +0.6]; published for classification: ResNet-18 on '
        'ImageNet 69.9 to 70.8',
        'a ranking of the classes of each pixel',
        own_labels,
    ),
    Recipe('localization', LOCALIZATION_TITLE, NO_GAIN, AVERAGE, localization),
    Recipe(
        'logits',
        'class scores of the average',
        f'edge distributions and class scores, {NO_GAIN}',
        AVERAGE,
        average_scores,
    ),
    Recipe(
        'queries',
        'classes and boxes at the same queries as the average (OD-DETR, arXiv 2406.05791)',
        'measured here on blood cells, three seeds: DINO -0.4 AP [-1.3, +0.4]',
        "the average's backbone and encoder, and two passes of both decoders",
        same_queries,
    ),
    Recipe(
        'cwd',
        'where normalised channels of the average are active (CWD, arXiv 2011.13256)',
        'not measured here',
        AVERAGE,
        channel_wise,
    ),
)
"""Methods that need no other network, the best evidence first."""
