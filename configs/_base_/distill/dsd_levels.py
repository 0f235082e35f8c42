# Levels of MONAI's networks as in the released dual self-distillation, for patches of 32 voxels. The decoder's last
# level feeds the network's own head and is left out.
dynunet_levels = dict(
    encoder=['network.input_block', 'network.downsamples.0', 'network.downsamples.1', 'network.downsamples.2'],
    decoder=['network.bottleneck', 'network.upsamples.0', 'network.upsamples.1', 'network.upsamples.2'],
)
# The first level of the decoder is the map of the eight tokens, the release's `dec4`.
unetr_levels = dict(
    encoder=['network.encoder1', 'network.encoder2', 'network.encoder3', 'network.encoder4'],
    decoder=['network.vit.norm@2x2x2', 'network.decoder5', 'network.decoder4', 'network.decoder3'],
)
