"""Recipes for a student and another network that teaches it, frozen."""

from __future__ import annotations

from .features import channel_wise, feature_mse, focal_global, generation, local_graphs, pearson
from .heads import LOCALIZATION_TITLE, boxes, cross_head, localization
from .queries import same_queries
from .recipe import Pair, Recipe, Settings, Unsuitable
from .segmentors import affinities, correlations, pixels
from .unlabelled import unlabelled_scores

KEYPOINT_HEADS = {
    'RTMCCHead': 'SimCCDistiller',
    'SimCCHead': 'SimCCDistiller',
    'HeatmapHead': 'HeatmapDistiller',
    'RLEHead': 'RLEDistiller',
}
"""Heads of MMPose with the distiller of their outputs."""


def rois(pair: Pair) -> Settings:
    """Return the entry of the student's proposals, as the teacher's second stage sees them."""
    if not all(network.has_type('roi_head', 'BaseRoIHead') for network in (pair.student, pair.teacher)):
        raise Unsuitable('student and teacher are not both two-stage detectors with a roi_head')
    return dict(distillers=dict(rois=dict(type='kd_plugins.RoIDistiller', weight=pair.warm_up(1.0))))


def keypoints(pair: Pair) -> Settings:
    """Return the entry of the keypoint distribution and features, the first stage of DWPose."""
    kind = next((kind for name, kind in KEYPOINT_HEADS.items() if pair.student.has_type('head', name)), None)
    if kind is None:
        raise Unsuitable(f'the model has no head of MMPose for keypoints; those of {", ".join(KEYPOINT_HEADS)} fit')
    distillers: Settings = dict(keypoints=dict(type=f'kd_plugins.{kind}', weight=_falling(0.5)))
    if pair.student.features and pair.teacher.features:
        distillers['features'] = pair.on_features(
            'FeatureDistiller', kind='mse', reduction='sum', weight=_falling(7e-5)
        )
    return dict(distillers=distillers)


def _falling(value: float) -> Settings:
    return dict(type='kd_plugins.LinearDecay', value=value)


FORWARD = 'one forward pass of the teacher'

TAUGHT = (
    Recipe(
        'unlabelled_scores',
        'unlabelled images: scores and boxes where the teacher is sure (Dense Teacher, arXiv 2207.02541)',
        'measured here with a pretrained teacher, 73 labelled and 219 unlabelled images of blood cells: 46.2 to 50.6 '
        'AP [+3.3, +5.5] over plain training of equal time, three seeds',
        'a second pass over as many unlabelled images, and one of the teacher',
        unlabelled_scores,
    ),
    Recipe(
        'keypoints',
        'DWPose, stage 1: features and keypoint distributions (arXiv 2307.15880)',
        'measured here on 2000 photographs, three seeds: SimCC on a pretrained backbone 80.4 to 82.6 PCK [+0.2, +4.2] '
        'over plain training of equal time, heatmaps 65.5 to 68.4 [+2.2, +3.6]; published: RTMPose-l on COCO-WholeBody '
        '61.1 to 63.1 AP, with more data',
        FORWARD,
        keypoints,
    ),
    Recipe(
        'cross',
        "the teacher's head on the student's features (CrossKD, arXiv 2306.11369)",
        'measured here on blood cells with a pretrained teacher: 53.3 to 56.9 AP [+1.8, +5.5] over plain training of '
        'equal time, three seeds; published: GFL-R50 from R101 on COCO 40.2 to 43.7 AP, one run',
        f"{FORWARD}, and its head again on the student's features",
        cross_head,
    ),
    Recipe(
        'localization',
        LOCALIZATION_TITLE,
        'measured here on blood cells with a pretrained teacher: 53.3 to 56.2 AP [+2.5, +3.2] over plain training of '
        'equal time, three seeds; published: GFL-R50 from R101 on COCO 40.1 to 42.1 AP, one run',
        FORWARD,
        localization,
    ),
    Recipe(
        'pkd',
        'correlation of the channels of the feature maps (PKD, arXiv 2207.02039)',
        'measured here on blood cells with a pretrained teacher: 53.3 to 55.1 AP [+1.1, +2.5] over plain training of '
        'equal time, three seeds, with Faster R-CNN +0.8 [-0.2, +1.8], five; published: RetinaNet-R50 from X101 on '
        'COCO 37.4 to 40.8 AP, Faster R-CNN-R50 from R101 38.4 to 40.3, one run each',
        FORWARD,
        pearson,
    ),
    Recipe(
        'cwd',
        'where normalised channels are active (CWD, arXiv 2011.13256, as for RTMDet)',
        'measured here on blood cells with a pretrained teacher: 53.3 to 55.1 AP [+1.0, +2.6] over plain training of '
        'equal time, three seeds; published: RTMDet-s from m on COCO 44.6 to 45.7 AP, one run',
        FORWARD,
        channel_wise,
    ),
    Recipe(
        'mse',
        'squared difference of the feature maps (FitNets, arXiv 1412.6550)',
        'measured here on blood cells: 54.2 to 55.0 AP [+0.2, +1.5], three seeds; with a pretrained teacher losses of '
        '2.0 and 1.8 AP against plain training of equal time, two seeds; in LiDAR scenes no gain',
        FORWARD,
        feature_mse,
    ),
    Recipe(
        'dist',
        'correlations of the classes of each pixel and of the pixels of each class (DIST, arXiv 2205.10536)',
        'published: PSPNet-R18 from R101 on Cityscapes 72.6 to 76.3 mIoU, one run; measured here on membranes, where '
        'the teacher is 0.0 to 1.2 mIoU ahead: +0.7 mIoU [-1.3, +2.7], three folds; on slices of hippocampi, five '
        'seeds: +2.2 mIoU [+1.4, +3.0] at equal steps, +0.8 [-0.5, +2.1] at equal time',
        FORWARD,
        correlations,
    ),
    Recipe(
        'cirkd',
        'classes of each pixel and affinities between positions (CIRKD, arXiv 2204.06986)',
        'published, with memory banks: DeepLabV3-R18 on Cityscapes 73.6 to 75.6 mIoU, one run; '
        'measured here on membranes: +0.2 mIoU [-1.4, +1.8], three folds; on slices of hippocampi, five seeds: '
        '+0.7 mIoU [-0.4, +1.8] at equal steps, which cost five times as much',
        f'{FORWARD}; a million products of channel vectors for each image',
        affinities,
    ),
    Recipe(
        'pixels',
        'KL divergence of the classes of each pixel (Hinton, arXiv 1503.02531)',
        'measured here on membranes: +0.3 mIoU [-0.6, +1.2], three folds; on slices of hippocampi -13.8 mIoU '
        '[-33.7, +6.1], five seeds, of which two do not find a class: take DIST',
        FORWARD,
        pixels,
    ),
    Recipe(
        'queries',
        'classes and boxes at the same queries (KD-DETR, arXiv 2211.08071)',
        'measured here on blood cells, three seeds: DINO 48.1 to 49.9 AP [+1.4, +2.2] at equal steps, which cost '
        'twice as much; plain training of equal cost is better by 3.6 AP [2.2, 4.9]; published: DAB-DETR-R18 on COCO '
        '36.2 to 41.4 AP, one run',
        "the teacher's backbone and encoder, and two passes of both decoders",
        same_queries,
    ),
    Recipe(
        'boxes',
        'decoded boxes and class scores (BCKD, arXiv 2308.14286)',
        'published: GFL-R50 from R101 on COCO 40.1 to 43.2 AP, one run; not measured here',
        FORWARD,
        boxes,
    ),
    Recipe(
        'fgd',
        'feature maps in and outside of the boxes (FGD, arXiv 2111.11837)',
        'published, with neck and head of most students from the teacher: GFL-R50 from R101 on COCO 40.2 to 43.5 AP, '
        'Faster R-CNN-R50 38.4 to 42.0, one run each; here, over plain training of equal time: '
        '-4.3 AP where its weight did not fit the teacher, two seeds; with a 60th of it +0.1 AP [-2.3, +2.5], three',
        f'{FORWARD}; attention maps of all levels',
        focal_global,
    ),
    Recipe(
        'mgd',
        "generation of the teacher's maps from masked ones (MGD, arXiv 2205.01529)",
        'published, with neck and head of most students from the teacher: RetinaNet-R50 from X101 on COCO 37.4 to 41.0 '
        'AP, PSPNet-R18 from R101 on Cityscapes 69.9 to 73.6 mIoU, one run each; here, over plain '
        'training of equal time: -7.8 AP where its weight did not fit the teacher, -1.0 and -0.1 with a 21st of it; '
        'on slices of hippocampi +1.1 mIoU [+0.1, +2.0] at equal steps, -0.3 [-1.9, +1.3] at equal time',
        f'{FORWARD}; two convolutions for each map',
        generation,
    ),
    Recipe(
        'rois',
        "classes, boxes and masks of the student's proposals (DKD, arXiv 2203.08679)",
        'published for the classes of Faster R-CNN on COCO; measured here on blood cells with a pretrained teacher: '
        '54.6 to 55.9 AP [+0.3, +2.3], +0.5 [-0.1, +1.1] over plain training of the same time, five seeds; with PKD '
        '+0.6 [+0.1, +1.1]',
        "the teacher's backbone, and its second stage on the student's proposals",
        rois,
    ),
    Recipe(
        'graphs',
        'local graphs of the feature maps (PointDistiller, arXiv 2205.11098)',
        'measured here on blood cells: +0.4 AP [-0.6, +1.4], in LiDAR scenes no gain; published: PointPillars of a '
        'quarter of the computation on KITTI 58.7 to 62.1 mAP',
        f'{FORWARD}; distances of 256 points in each image and level',
        local_graphs,
    ),
)
"""Methods for a trained teacher, the best evidence first."""
