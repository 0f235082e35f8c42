# DINOv3's ViT-B/16 of timm as the teacher, as in RT-DETRv4 (arXiv 2510.25257). It sees the image at half its size, so a
# token has stride 32, that of the pyramid's level P5. The weights are `model.safetensors` of timm's
# vit_base_patch16_dinov3; the environment variable DINOV3_VITB16 names the file. A config adds `student_tap`, and
# `custom_imports` where its bases have none.
teacher = dict(
    type='kd_plugins.BackboneTeacher',
    model=dict(type='kd_plugins.TimmBackbone', model='vit_base_patch16_dinov3', out_indices=(11,)),
    checkpoint='{{$DINOV3_VITB16:checkpoints/vit_base_patch16_dinov3.safetensors}}',
    pool=2,
    patch=16,
)
tokens = dict(
    type='kd_plugins.FeatureDistiller',
    teacher_tap='backbone',
    kind='cosine',
    resize='bilinear',
    weight=dict(type='kd_plugins.GradientShare', value=5.0),
)
