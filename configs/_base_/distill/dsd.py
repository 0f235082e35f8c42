# Dual self-distillation of full-size networks: weights of the release, divergences at a quarter of the labels' size.
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
dsd = dict(type='kd_plugins.DualSelfDistiller', upsample='interpolate', resolution=4)
