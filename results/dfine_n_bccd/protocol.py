"""The native D-FINE-N and DINO from random weights on blood cells, equal CPU minutes (written before the first run)."""

question = """
Which detector does a CPU train further in the same minutes, from random weights on 292 images: DINO on a ResNet-18
(`dino_r18_bccd`) or the native D-FINE-N, HGNetV2-B0 with FDR and GO-LSD (`dfine_n_bccd`)?
"""
# Measured alternately in one process, one thread, 22 steps of each: a step of DINO (batches of two) takes .879 s of CPU
# time, a step of D-FINE-N (batches of four) 1.019 s. Twelve epochs of DINO, 1752 steps, cost 1511 steps of D-FINE-N,
# which are 20.7 epochs; it gets 20.
epochs = {
    'train_cfg.max_epochs': '20',
    'train_cfg.val_interval': '20',
    'param_scheduler.1.milestones': '[17]',
    'param_scheduler.1.end': '20',
}
arms = dict(
    dino=dict(config='configs/dfine/dino_r18_bccd.py', note='DINO, 3 decoder layers, 12 epochs of 146 steps'),
    dfine_n=dict(config='configs/dfine/dfine_n_bccd.py', options=epochs, note='D-FINE-N, 20 epochs of 73 steps'),
)
del epochs
seeds = (0, 1, 2)
more_seeds = (3, 4)
metrics = (
    'coco/bbox_mAP',
    'coco/bbox_mAP_50',
    'coco/bbox_mAP_75',
    'coco/RBC_precision',
    'coco/WBC_precision',
    'coco/Platelets_precision',
)
contrasts = (('dfine_n', 'dino'),)
# The validation data are the test data; the last epoch is measured, and nothing is chosen by it.
test_last = False
refuted_if = 'The 95 % interval of dfine_n minus dino in AP holds 0 or lies below it.'
stop_if = 'Nothing: both arms run with three seeds.'
