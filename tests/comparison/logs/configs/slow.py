_base_ = './plain.py'
name = 'slow'
custom_hooks = [dict(type='EMAHook', momentum=0.01)]
