# LGD on COCO. The release trains for 180000 iterations: the backbone rests in the first 20000, and the student's maps
# learn from the instructive ones after 30000. A config may change the share of `freeze`.
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
distill = dict(type='kd_plugins.DistillHook', freeze=dict(parts=['backbone'], until=0.111))
guide = dict(type='kd_plugins.LabelGuidedDistiller', begin=0.167)
