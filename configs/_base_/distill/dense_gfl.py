# Class scores and box edges of a GFL head, at the places where the teacher sees objects.
logits = dict(type='kd_plugins.LogitDistiller', logits='bbox_head.gfl_cls', select=dict(score=0.1), weight=2.0)
edges = dict(type='kd_plugins.LocalizationDistiller', temperature=2.0, select=dict(score=0.2), weight=1.0)
