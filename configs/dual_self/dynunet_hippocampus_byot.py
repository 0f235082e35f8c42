# The small DynUNet as in "Be your own teacher" (arXiv 1905.08094): the network's own output teaches its encoder levels.
_base_ = ['./dynunet_hippocampus.py', '../_base_/distill/byot.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(
            byot=dict(
                encoder=[
                    'network.input_block',
                    'network.downsamples.0',
                    'network.downsamples.1',
                    'network.downsamples.2',
                    'network.bottleneck',
                ],
                logits='network.output_block',
                **_base_.byot,
            ),
        ),
    )
)
