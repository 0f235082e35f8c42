"""Methods of the table "what helps where" in docs/results, and where each one was measured.

`kd_plugins experiments --overview docs/results/index.md` writes the table. A measurement names a folder of results (or
of a protocol that has none yet) and what was trained on what. Its contrast is the first one of the protocol, or `pair`:
the method and its fair baseline, called `against` in the table where the arm's name says too little.
"""

bccd = 'GFL, ResNet-18, BCCD'
bccd_half = 'GFL, half ResNet-18, BCCD'
quarter = 'GFL, quarter ResNet-18, BCCD'
lite0 = f'{quarter}, pretrained teacher'
cells = 'GFL, half ResNet-18, BCCD, a third class without labels of the first two'
scenes = 'PointPillars of a sixteenth, generated scenes'
lite0_balanced = f'{lite0}, weight by the gradient'
menu = 'menu_lite0_bccd'
longer = 'plain, 40 epochs'
half_unet = 'half UNet, ISBI membranes'
slices = 'menu_isbi'
parts = 'menu_hippocampus'
small_unet = 'UNet of a quarter, slices of hippocampi'
photographs = 'heatmaps, half ResNet-18, LSPE'
rcnn = 'Faster R-CNN, quarter ResNet-18, BCCD'
rcnn_taught = f'{rcnn}, pretrained teacher'
stages = 'menu_rcnn_bccd'
longer_stages = 'plain, 28 epochs'


def on_both(arm, sets=((slices, half_unet), (parts, small_unet))):
    """Return the measurements of a loss for segmenters, against plain training, on both data sets."""
    return [dict(result=result, pair=(arm, 'plain'), on=on) for result, on in sets]


def over_longer(arm, on=lite0, result=menu, against=longer, **others):
    """Return the measurement of a loss of the menu for detectors, against plain training of equal cost."""
    return dict(result=result, pair=(arm, 'longer'), against=against, on=on, **others)


detectors = {
    'unlabelled images, taught by its own average': dict(
        docs='unlabelled.md',
        measured=[
            dict(result='unlabelled_digits', on='small GFL, digits, 24 labelled and 776 unlabelled images'),
            dict(result='unlabelled_bccd_late', on=f'{quarter}, 73 labelled and 219 unlabelled images'),
            dict(result='unlabelled_bccd', on='GFL, half ResNet-18, BCCD, 73 labelled and 219 unlabelled images'),
        ],
    ),
    'unlabelled images, taught by a pretrained network': dict(
        docs='unlabelled.md',
        measured=[
            dict(
                result='taught_bccd',
                pair=('taught', 'longer'),
                on=f'{quarter}, 73 labelled and 219 unlabelled images',
            )
        ],
    ),
    'localization distillation (LD)': dict(
        docs='distillers/localization.md',
        measured=[
            dict(
                result='gfl_r18_bccd_ema-ld',
                pair=('gfl_r18_bccd_ema-ld', 'gfl_r18_bccd'),
                against='plain',
                on=f'{bccd}, own average',
                page='gfl_bccd.md',
                step=1.28,  # docs/results/cost.md
            ),
            dict(
                result='gfl_r18_bccd_quarter_ema-ld',
                pair=('gfl_r18_bccd_quarter_ema-ld', 'gfl_r18_bccd_quarter'),
                against='plain',
                on=f'{bccd}, a quarter of the labels, own average',
                page='gfl_bccd.md',
                step=1.28,
            ),
            over_longer('ld'),
        ],
    ),
    'the native D-FINE-N in place of DINO': dict(
        docs='models/dfine_native.md',
        measured=[dict(result='dfine_n_bccd', on='D-FINE-N, BCCD, random weights, equal CPU time')],
    ),
    'D-FINE: FDR': dict(
        docs='models/dfine.md',
        measured=[
            dict(
                result='dino_r18_bccd_golsd',
                pair=('dino_r18_bccd_fdr', 'dino_r18_bccd'),
                against='plain',
                on='DINO, ResNet-18, three decoder layers, BCCD',
                page='dfine_bccd.md',
            ),
            dict(result='dfine_bccd_l6', pair=('fdr', 'quality'), on='DINO, ResNet-18, six decoder layers, BCCD'),
            dict(
                result='dfine_hippocampus',
                pair=('fdr', 'quality'),
                on='DINO, ResNet-18, six decoder layers, slices of hippocampi',
            ),
        ],
    ),
    'D-FINE: FDR and GO-LSD': dict(
        docs='models/dfine.md',
        measured=[
            dict(
                result='dino_r18_bccd_golsd',
                pair=('dino_r18_bccd_golsd', 'dino_r18_bccd'),
                against='plain',
                on='DINO, ResNet-18, three decoder layers, BCCD',
                page='dfine_bccd.md',
                step=0.98,
            ),
            dict(result='dfine_bccd_l6', on='DINO, ResNet-18, six decoder layers, BCCD'),
            dict(result='dfine_hippocampus', on='DINO, ResNet-18, six decoder layers, slices of hippocampi'),
        ],
    ),
    'D-FINE: GO-LSD alone': dict(
        docs='models/dfine.md',
        measured=[
            dict(
                result='dino_r18_bccd_golsd',
                pair=('dino_r18_bccd_golsd', 'dino_r18_bccd_fdr'),
                against='fdr',
                on='DINO, ResNet-18, three decoder layers, BCCD',
                page='dfine_bccd.md',
                step=1.0,
            ),
            dict(result='dfine_bccd_l6', pair=('golsd', 'fdr'), on='DINO, ResNet-18, six decoder layers, BCCD'),
            dict(
                result='dfine_hippocampus',
                pair=('golsd', 'fdr'),
                on='DINO, ResNet-18, six decoder layers, slices of hippocampi',
            ),
        ],
    ),
    'local graphs (PointDistiller)': dict(
        docs='distillers/localgraph.md',
        measured=[
            dict(
                result='gfl_r18w32_bccd_local',
                pair=('gfl_r18w32_bccd_ema-local', 'gfl_r18w32_bccd'),
                against='plain',
                on=f'{bccd_half}, own average',
                page='local_graph.md',
            ),
            dict(
                result='gfl_r18w32_bccd_local',
                pair=('gfl_r18-r18w32_bccd_local', 'gfl_r18w32_bccd'),
                against='plain',
                on=f'{bccd_half}, wider teacher',
                page='local_graph.md',
            ),
            dict(
                result='pointpillars_scenes',
                pair=('pointpillars_x4_scenes_local', 'pointpillars_x4_scenes'),
                against='plain',
                on='PointPillars of a quarter, generated scenes',
                page='local_graph.md',
            ),
            dict(result='point_scenes', on=f'{scenes}, converged teacher'),
        ],
    ),
    'plain features (MSE)': dict(
        docs='distillers/feature.md',
        measured=[
            dict(
                result='gfl_r18w32_bccd_local',
                pair=('gfl_r18-r18w32_bccd_feat', 'gfl_r18w32_bccd'),
                against='plain',
                on=f'{bccd_half}, wider teacher',
                page='local_graph.md',
                step=1.46,
            ),
            dict(result='point_scenes', pair=('features', 'plain'), on=f'{scenes}, converged teacher'),
            over_longer('mse'),
            over_longer('mse_4', lite0_balanced),
        ],
    ),
    'PKD': dict(
        docs='distillers/feature.md',
        measured=[
            over_longer('pkd'),
            dict(result=stages, pair=('pkd', 'longer'), against=longer_stages, on=rcnn_taught),
        ],
    ),
    'CWD': dict(docs='distillers/feature.md', measured=[over_longer('cwd')]),
    'MGD': dict(
        docs='distillers/feature.md',
        measured=[over_longer('mgd'), over_longer('mgd_4', lite0_balanced)],
    ),
    'FGD': dict(
        docs='distillers/focalglobal.md',
        measured=[over_longer('fgd'), over_longer('fgd_4', lite0_balanced)],
    ),
    'CrossKD': dict(docs='distillers/crosshead.md', measured=[over_longer('crosskd')]),
    'CrossKD and PKD': dict(
        docs='distillers/crosshead.md',
        # Much other work ran beside; the step was measured anew, interleaved with plain ones.
        measured=[over_longer('crosskd_pkd', step=2.01)],
    ),
    "a head that starts with the teacher's weights": dict(
        docs='teachers/frozen.md', measured=[dict(result=menu, pair=('head', 'plain'), on=lite0)]
    ),
    'feature maps that know the labels (LGD)': dict(
        docs='distillers/labelguided.md',
        measured=[
            dict(result='label_guided_bccd', pair=('guided', 'plain'), on=quarter),
            dict(result=stages, pair=('guided', 'plain'), on=rcnn),
        ],
    ),
    'new classes: L2': dict(
        docs='distillers/anchors.md',
        measured=[dict(result='incremental_bccd', pair=('l2', 'fine_tune'), on=cells)],
    ),
    'new classes: EWC': dict(
        docs='distillers/anchors.md',
        measured=[dict(result='incremental_bccd', pair=('ewc', 'fine_tune'), on=cells)],
    ),
    'new classes: PredKD': dict(
        docs='distillers/logit.md',
        measured=[dict(result='incremental_bccd', pair=('predkd', 'fine_tune'), on=cells)],
    ),
    'new classes: FeatKD': dict(
        docs='distillers/feature.md',
        measured=[dict(result='incremental_bccd', pair=('featkd', 'fine_tune'), on=cells)],
    ),
    'boxes of each location and class scores': dict(
        docs='distillers/box.md', measured=[dict(result=menu, pair=('boxes', 'plain'), on=lite0)]
    ),
    "the teacher at the student's proposals": dict(
        docs='distillers/roi.md',
        # One run was paused; the step is that of the second seed, beside a plain one.
        measured=[dict(result=stages, pair=('roi', 'longer'), against=longer_stages, on=rcnn_taught, step=1.49)],
    ),
    "PKD and the teacher at the student's proposals": dict(
        docs='distillers/roi.md',
        # One run was paused; the step is that of the first one.
        measured=[dict(result=stages, pair=('both', 'longer'), against=longer_stages, on=rcnn_taught, step=1.2)],
    ),
    'KD-DETR': dict(
        docs='distillers/query.md',
        measured=[
            dict(
                result='kddetr_bccd',
                pair=('finished', 'plain'),
                on='DINO, ResNet-18, BCCD, finished self, equal steps',
                step=2.06,  # measured alone; the plain runs had other work beside them
            ),
            dict(
                result='kddetr_bccd',
                on='DINO, ResNet-18, BCCD, finished self',
                against='plain, equal cost',
                step=2.06,
            ),
            dict(result='kddetr_bccd', pair=('average', 'plain'), on='DINO, ResNet-18, BCCD, own average', step=1.47),
        ],
    ),
    'stage localization': dict(docs='distillers/stagelocalization.md'),
    'stage heads (HSAKD, LSSKD)': dict(
        docs='distillers/stageclass.md', measured=[dict(result=menu, pair=('stages', 'plain'), on=quarter)]
    ),
    'softened targets (PS-KD)': dict(
        docs='teachers/snapshot.md', measured=[dict(result=stages, pair=('softened', 'plain'), on=rcnn)]
    ),
    'a backbone with the weights of ImageNet as teacher': dict(
        docs='teachers/backbone.md', measured=[dict(result=menu, pair=('backbone', 'plain'), on=quarter)]
    ),
}
hippocampus = 'Hippocampus, 140 volumes'
segmenters = {
    'DSD as released': dict(
        docs='distillers/dualself.md',
        measured=[
            dict(result='dual_self_overfit', on='wide UNETR, Hippocampus, 16 volumes'),
            dict(result='dual_self_long', on='wide UNETR, Hippocampus, 16 volumes, twice as long'),
        ],
    ),
    'DSD, small weights': dict(
        docs='distillers/dualself.md',
        measured=[
            dict(
                result='dual_self_hippocampus/dynunet',
                pair=('dynunet_hippocampus_dsd', 'dynunet_hippocampus'),
                against='plain',
                on=f'DynUNet, {hippocampus}',
                page='dual_self.md',
            ),
            dict(
                result='dual_self_hippocampus/unetr',
                pair=('unetr_hippocampus_dsd', 'unetr_hippocampus'),
                against='plain',
                on=f'UNETR, {hippocampus}',
                page='dual_self.md',
            ),
            dict(
                result='unet_isbi_dsd',
                pair=('unet_isbi_dsd', 'unet_isbi'),
                against='plain',
                on='UNet, ISBI membranes',
                page='dual_self.md',
            ),
        ],
    ),
    'unlabelled images, taught by its own average': dict(
        docs='unlabelled.md',
        measured=[dict(result='unlabelled_isbi', on='half UNet, ISBI membranes, five labelled slices')],
    ),
    'class scores: KL divergence': dict(docs='distillers/logit.md', measured=on_both('kd')),
    'class scores: DIST': dict(docs='distillers/logit.md', measured=on_both('dist')),
    'CWD': dict(docs='distillers/feature.md', measured=on_both('cwd')),
    'MGD': dict(docs='distillers/feature.md', measured=on_both('mgd')),
    'relations of pixels (CIRKD)': dict(
        docs='distillers/relation.md',
        # Its run on membranes was paused; the step is that of docs/results/cost.md.
        measured=[
            dict(result=slices, pair=('cirkd', 'plain'), on=half_unet, step=1.77),
            dict(result=parts, pair=('cirkd', 'plain'), on=small_unet),
        ],
    ),
    'soft labels without a teacher (USKD)': dict(
        docs='distillers/uskd.md',
        measured=[
            dict(
                result=slices,
                pair=('uskd', 'auxiliary'),
                on=half_unet,
                against='plain, with an auxiliary head',
                step=1.21,  # docs/results/cost.md
            )
        ],
    ),
    'feature maps that know the labels (LGD)': dict(
        docs='distillers/labelguided.md', measured=[dict(result=slices, pair=('guided', 'plain'), on=half_unet)]
    ),
    'softened targets (PS-KD)': dict(
        docs='teachers/snapshot.md', measured=[dict(result=slices, pair=('softened', 'plain'), on=half_unet)]
    ),
}
pose_estimators = {
    'DWPose, stage 1': dict(
        docs='dwpose.md',
        measured=[
            dict(
                result='dwpose_simcc',
                on='SimCC, pretrained EfficientNet-Lite0, LSPE',
                against='plain, 27 epochs',
                step=1.36,  # measured alone; the runs of both arms had other work beside them
            ),
            dict(
                result='dwpose_lspet',
                pair=('dwpose_r18-r18w32_lspet_stage1', 'simplebaseline-r18w32_lspet'),
                against='plain',
                on=photographs,
            ),
        ],
    ),
    'DWPose, stage 2': dict(
        docs='dwpose.md',
        measured=[
            dict(
                result='dwpose_simcc',
                pair=('stage2', 'restart'),
                against='new head, labels alone',
                on='SimCC, pretrained EfficientNet-Lite0, LSPE',
            ),
            dict(
                result='dwpose_lspet',
                pair=('dwpose_r18w32-r18w32_lspet_stage2', 'dwpose_r18-r18w32_lspet_stage1'),
                against='its start',
                on=photographs,
            ),
        ],
    ),
    'unlabelled images, taught by its own average': dict(
        docs='unlabelled.md',
        measured=[dict(result='unlabelled_lspet', on='SimCC, LSPE, a tenth of the labels')],
    ),
    'heatmaps alone': dict(
        docs='distillers/heatmap.md', measured=[dict(result='menu_lspet', pair=('heatmap', 'plain'), on=photographs)]
    ),
    'features alone (MSE)': dict(
        docs='distillers/feature.md', measured=[dict(result='menu_lspet', pair=('feature', 'plain'), on=photographs)]
    ),
    'PKD': dict(
        docs='distillers/feature.md', measured=[dict(result='menu_lspet', pair=('pkd', 'plain'), on=photographs)]
    ),
    'CWD': dict(
        docs='distillers/feature.md', measured=[dict(result='menu_lspet', pair=('cwd', 'plain'), on=photographs)]
    ),
    'SimCC distributions alone': dict(docs='distillers/simcc.md'),
    'joints with their uncertainty (RLE)': dict(docs='distillers/rle.md'),
    'feature maps that know the labels (LGD)': dict(
        docs='distillers/labelguided.md', measured=[dict(result='menu_lspet', pair=('guided', 'plain'), on=photographs)]
    ),
}
del (
    photographs,
    quarter,
    bccd,
    bccd_half,
    lite0,
    lite0_balanced,
    longer,
    cells,
    scenes,
    menu,
    hippocampus,
    half_unet,
    slices,
    parts,
    small_unet,
    on_both,
    over_longer,
)
del rcnn, rcnn_taught, stages, longer_stages
