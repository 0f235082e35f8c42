# The image network of CLIP ViT-B/16 (OpenAI) of timm as a teacher. It sees the image at half its size, so a token has
# stride 32, that of the pyramid's level P5. The weights are `model.safetensors` of timm's
# vit_base_patch16_clip_224.openai; the environment variable CLIP_VITB16 names the file.
clip = dict(
    type='kd_plugins.BackboneTeacher',
    model=dict(
        type='kd_plugins.TimmBackbone',
        model='vit_base_patch16_clip_224',
        out_indices=(11,),
        options=dict(dynamic_img_size=True),
    ),
    checkpoint='{{$CLIP_VITB16:checkpoints/vit_base_patch16_clip_224.safetensors}}',
    mean=[122.77, 116.75, 104.09],
    std=[68.5, 66.63, 70.32],
    pool=2,
    patch=16,
)
