"""Tables of the worlds: the network of each, what makes it small, and the shipped configs that it stands for."""

from __future__ import annotations

from typing import Any

PYRAMID = {'model.neck.in_channels': [8, 16, 32, 64], 'model.neck.out_channels': 16}
DILATED = {
    'model.backbone.base_channels': 8,
    'model.decode_head.in_channels': 64,
    'model.decode_head.channels': 16,
    'model.auxiliary_head.in_channels': 32,
    'model.auxiliary_head.channels': 8,
}
RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    'gfl': (
        'gfl/gfl_r18_bccd.py',
        {
            **PYRAMID,
            'model.backbone.base_channels': 8,
            'model.bbox_head.in_channels': 16,
            'model.bbox_head.feat_channels': 16,
        },
    ),
    'gfl_deep': (
        'gfl/gfl_r18_bccd.py',
        {
            **PYRAMID,
            'model.backbone.base_channels': 8,
            'model.bbox_head.in_channels': 16,
            'model.bbox_head.feat_channels': 16,
            'model.bbox_head.stacked_convs': 4,
        },
    ),
    'mask_rcnn': (
        'roi/roi_mask-rcnn-r101_mask-rcnn-r50_fpn_1x_coco.py',
        {
            **PYRAMID,
            'model.backbone.depth': 18,
            'model.backbone.base_channels': 8,
            'model.rpn_head.in_channels': 16,
            'model.rpn_head.feat_channels': 16,
            'model.roi_head.bbox_roi_extractor.out_channels': 16,
            'model.roi_head.bbox_head.in_channels': 16,
            'model.roi_head.bbox_head.fc_out_channels': 32,
            'model.roi_head.mask_roi_extractor.out_channels': 16,
            'model.roi_head.mask_head.in_channels': 16,
            'model.roi_head.mask_head.conv_out_channels': 16,
            'model.train_cfg.rcnn.sampler.num': 16,
            'model.train_cfg.rpn_proposal.max_per_img': 32,
        },
    ),
    'rtmdet': (
        'feature/rtmdet_s_8xb32-300e_coco_ema-logit-feat.py',
        {
            'model.backbone.deepen_factor': 0.167,
            'model.backbone.widen_factor': 0.125,
            'model.neck.in_channels': [32, 64, 128],
            'model.neck.out_channels': 32,
            'model.neck.num_csp_blocks': 1,
            'model.bbox_head.in_channels': 32,
            'model.bbox_head.feat_channels': 32,
        },
    ),
    'dino': (
        'dfine/dino_r18_bccd_fdr_stages.py',
        {'model.num_queries': 20, 'model.encoder.num_layers': 1},
    ),
    'dab': (
        'queries/dab-detr_r18_bccd_ema-queries.py',
        {'model.num_queries': 20, 'model.decoder.num_layers': 2},
    ),
    'dfine': ('dfine/dfine_s_bccd.py', {'model.num_queries': 20}),
    'unet': ('dual_self/unet_isbi_dsd.py', {'model.backbone.base_channels': 4, 'model.decode_head.in_channels': 4}),
    'unet_parts': ('logit/unet-w4_hippocampus-slices.py', {}),
    'fpn': (
        'dual_self/fpn_r50_4xb2-80k_cityscapes-512x1024_dsd.py',
        {'model.backbone.depth': 18, 'model.neck.in_channels': [64, 128, 256, 512], 'model.neck.out_channels': 256},
    ),
    'pspnet': ('logit/uskd_pspnet-r18_4xb2-80k_cityscapes-512x1024.py', DILATED),
    'deeplabv3': ('logit/nkd_deeplabv3-r101_deeplabv3-r18_4xb2-80k_cityscapes-512x1024.py', DILATED),
    'swin': (
        'relation/minilm_upernet-swin-b_upernet-swin-t_8xb2-160k_ade20k-512x512.py',
        {
            'model.backbone.embed_dims': 24,
            'model.backbone.depths': [1, 1, 1, 2],
            'model.decode_head.in_channels': [24, 48, 96, 192],
            'model.decode_head.channels': 16,
            'model.auxiliary_head.in_channels': 96,
            'model.auxiliary_head.channels': 8,
        },
    ),
    'panoptic': (
        'dual_self/panoptic-fpn_r50_fpn_1x_coco_dsd.py',
        {'model.backbone.depth': 18, 'model.neck.in_channels': [64, 128, 256, 512]},
    ),
    'segformer': ('dual_self/segformer_mit-b0_8xb2-160k_ade20k-512x512_dsd.py', {}),
    'dynunet': ('dual_self/dynunet_hippocampus_dsd.py', {'model.network.filters': [2, 4, 4, 4, 4]}),
    'unetr': ('dual_self/unetr_hippocampus_dsd.py', {'model.network.feature_size': 4}),
    'simcc': ('dwpose/rtmpose-t_lspet.py', {'model.backbone.widen_factor': 0.125, 'model.head.in_channels': 128}),
    'heatmap': (
        'dwpose/simplebaseline-r18w32_lspet.py',
        {'model.backbone.base_channels': 8, 'model.head.in_channels': 64, 'model.head.deconv_out_channels': [8, 8, 8]},
    ),
    'pillars': ('local_graph/pointpillars_x4_scenes.py', {}),
}
"""Name of a world to the config of its network and the changes that make it small."""
WORLDS = {
    'backbone_teacher/*rtmdet*': 'rtmdet',
    'backbone_teacher/*': 'gfl',
    'cross_head/*': 'gfl_deep',
    'dfine/*': 'dino',
    'dfine_native/*': 'dfine',
    'dual_self/dynunet*': 'dynunet',
    'dual_self/unetr*': 'unetr',
    'dual_self/unet*': 'unet',
    'dual_self/fpn*': 'fpn',
    'dual_self/panoptic*': 'panoptic',
    'dual_self/segformer*': 'segformer',
    'dwpose/*r18*': 'heatmap',
    'dwpose/*': 'simcc',
    'feature/*rtmdet*': 'rtmdet',
    'feature/*unet*': 'unet',
    'feature/*': 'gfl',
    'focal_global/*': 'gfl',
    'gfl/*': 'gfl',
    'incremental/*': 'gfl',
    'label_guided/*mask-rcnn*': 'mask_rcnn',
    'label_guided/*rtmpose*': 'simcc',
    'label_guided/*segformer*': 'segformer',
    'label_guided/simplebaseline*': 'heatmap',
    'label_guided/unet*': 'unet',
    'label_guided/*': 'gfl',
    'local_graph/gfl*': 'gfl',
    'local_graph/*': 'pillars',
    'logit/uskd*': 'pspnet',
    'logit/*hippocampus*': 'unet_parts',
    'logit/*unet*': 'unet',
    'logit/*pspnet*': 'pspnet',
    'logit/*': 'deeplabv3',
    'queries/*': 'dab',
    'relation/*swin*': 'swin',
    'relation/*unet*': 'unet',
    'relation/*': 'deeplabv3',
    'roi/*': 'mask_rcnn',
    'stage_class/*': 'gfl',
    'unlabelled/rtmcc*': 'simcc',
    'unlabelled/rtmdet*': 'rtmdet',
    'unlabelled/rtmpose*': 'simcc',
    'unlabelled/segformer*': 'segformer',
    'unlabelled/unet*': 'unet',
    'unlabelled/*': 'gfl',
}
"""Pattern of shipped configs to their world; the first match counts."""
NOT_STEPPED = ('local_graph/point-rcnn*', 'unlabelled/*')
"""Configs whose network runs on a GPU only, or whose run needs images and an EMAHook; their entries are built and
checked without a step."""
