# DINO-R18 on BCCD with FDR. Its last decoder layer teaches the others, by the distiller and not by the head's loss_ddf.
_base_ = './dino_r18_bccd_fdr.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(
            stages=dict(
                type='kd_plugins.StageLocalizationDistiller',
                logits='bbox_head.fdr.distributions.*',
                scores='bbox_head.cls_branches.2',
                accumulate=True,
                bins=33,
                weight=1.0,
            )
        ),
    )
)
