"""D-FINE on a DINO with six decoder layers, where boxes are exact (written before the first run)."""

question = """
Do distributions of box edges (FDR) give better boxes than a plain DINO with the same quality-aware class loss, and
does the last decoder layer teach the earlier ones (GO-LSD)?
"""
# `quality`, with which the contrasts compare, became the baseline of the tables after `fdr` and `golsd` had run.
arms = dict(
    quality=dict(
        config='configs/dfine/dino_r18_hippocampus-slices_quality-loss.py',
        note='DINO with the class loss of the next two arms (VFL; focal loss for the proposals)',
    ),
    fdr=dict(config='configs/dfine/dino_r18_hippocampus-slices_fdr.py', note='FDR, no distillation'),
    golsd=dict(
        config='configs/dfine/dino_r18_hippocampus-slices_golsd.py',
        note="FDR and GO-LSD, counts of the denoising term as released ('matching')",
    ),
    plain=dict(config='configs/dfine/dino_r18_hippocampus-slices.py', note='DINO, focal loss'),
)
seeds = (0, 1, 2)
more_seeds = (3, 4)
metrics = (
    'coco/bbox_mAP_75',
    'coco/bbox_mAP',
    'coco/bbox_mAP_50',
    'coco/anterior_precision',
    'coco/posterior_precision',
)
contrasts = (('golsd', 'quality'), ('fdr', 'quality'), ('golsd', 'fdr'))
layers = True
refuted_if = """
FDR: the 95 % interval of fdr minus quality at AP75 (and at AP75 to AP90) holds 0, or the GIoU loss of the last layer is
no lower than in the quality arm. GO-LSD: the AP of layers 1 and 2 is no higher than with FDR alone.
"""
stop_if = 'After three seeds both contrasts with quality have a mean below 0.'
