# The small DynUNet with dual self-distillation. As in the release, the levels of the encoder are those before the
# bottleneck, and those of the decoder begin with it and end before the last, which feeds the network's own head.
_base_ = ['./dynunet_hippocampus.py', '../_base_/distill/dsd_small.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(
            dsd=dict(
                encoder=[
                    'network.input_block',
                    'network.downsamples.0',
                    'network.downsamples.1',
                    'network.downsamples.2',
                ],
                decoder=['network.bottleneck', 'network.upsamples.0', 'network.upsamples.1', 'network.upsamples.2'],
                **_base_.dsd,
            )
        ),
    )
)
