"""Logs of a run and of its resumptions, read and written in compact form."""

import gzip
import json

from kd_plugins.runner.run_log import RunLog, compact_lines, is_validation, read_run, read_test, write_lines


def write_log(folder, rows, torn=''):
    path = folder / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(json.dumps(row) for row in rows) + '\n' + torn)


def train_row(step, loss):
    return {'lr': 0.1, 'loss': loss, 'loss_cls': loss / 2, 'time': 1.0, 'epoch': 1, 'iter': step, 'step': step}


def val_row(step, value):
    return {'coco/bbox_mAP': value, 'coco/RBC_precision': value / 2, 'data_time': 0.1, 'time': 0.2, 'step': step}


def test_resumptions_are_read_in_order_and_a_repeated_step_counts_once(tmp_path):
    write_log(tmp_path / '20260101_000000', [train_row(10, 2.0), val_row(1, 0.1), val_row(2, 0.15)])
    write_log(tmp_path / '20260102_000000', [val_row(2, 0.2), val_row(3, 0.3)])
    log = read_run(tmp_path)
    assert log.metrics['coco/bbox_mAP'] == {1: 0.1, 2: 0.2, 3: 0.3}
    assert log.losses == {'loss': {10: 2.0}, 'loss_cls': {10: 1.0}}
    assert log.last_step == 3


def test_an_incomplete_last_line_is_skipped(tmp_path):
    write_log(tmp_path / '20260101_000000', [val_row(1, 0.1)], torn='{"coco/bbox_mAP": 0.')
    assert read_run(tmp_path).metrics['coco/bbox_mAP'] == {1: 0.1}


def test_a_missing_folder_gives_an_empty_log(tmp_path):
    assert read_run(tmp_path / 'nothing').last_step is None


def test_distillation_terms_are_losses_and_not_metrics():
    row = {'distill.a.loss_ld/raw': 1.0, 'distill.a.loss_ld/ratio': 0.1, 'step': 10}
    assert not is_validation(row)


def test_compact_lines_are_json_with_each_step_once(tmp_path):
    log = RunLog(metrics={'m': {1: 1 / 3}}, losses={'loss': {5: 2.0, 10: 1.0}, 'loss_cls': {10: 0.5}})
    rows = [json.loads(line) for line in compact_lines(log)]
    assert rows == [{'train': 5, 'loss': 2.0}, {'train': 10, 'loss': 1.0, 'loss_cls': 0.5}, {'val': 1, 'm': 1 / 3}]


def test_the_newest_test_result_is_read(tmp_path):
    for stamp, value in (('20260101_000000', 0.1), ('20260102_000000', 0.2)):
        folder = tmp_path / stamp
        folder.mkdir()
        (folder / f'{stamp}.json').write_text(json.dumps({'coco/bbox_mAP': value, 'time': 1.0}))
        (folder / 'run.json').write_text('{}')
    assert read_test(tmp_path) == {'coco/bbox_mAP': 0.2}


def test_a_test_result_cut_off_by_a_kill_is_skipped(tmp_path):
    (tmp_path / '20260101_000000').mkdir()
    (tmp_path / '20260101_000000' / '20260101_000000.json').write_text('{"coco/bbox_mAP": 0.')
    assert read_test(tmp_path) == {}


def test_equal_lines_give_equal_bytes_at_any_time(tmp_path):
    lines = ['{"train": 10, "loss": 2.0}', '{"val": 1, "PCK": 0.5}']
    for name in ('a.jsonl.gz', 'b.jsonl.gz'):
        write_lines(tmp_path / name, lines)
    packed = (tmp_path / 'a.jsonl.gz').read_bytes()
    assert packed == (tmp_path / 'b.jsonl.gz').read_bytes()
    assert packed[4:8] == bytes(4), 'a time stamp would change the bytes'
    assert gzip.decompress(packed).decode().splitlines() == lines
