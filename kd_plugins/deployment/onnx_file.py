"""ONNX files of D-FINE and RT-DETR with a dynamic batch, and comparison of onnxruntime with MMDetection."""

from __future__ import annotations

import copy
import inspect
import json
import tempfile
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import MissingDependencyError
from ..version import __version__
from .graph import INPUTS, OUTPUTS, DetectorGraph
from .images import smooth_images

OPSET = 17
"""The lowest opset with layer normalisation as one operator, which other runtimes need for half precision."""
TOLERANCE = 1e-4
"""Largest difference of scores, and of boxes relative to the longer side of the image."""
ROUNDING = 3.0
"""Largest difference in units of torch's own between float32 and float64, which some weights amplify."""
WORST = 3e-3
"""Largest rounding of torch that is taken into account."""
GAP = 3e-3
"""Difference of two class logits of the encoder that rounding does not close."""
TRIES = 8
"""Number of images among which a check chooses."""


class Agreement(NamedTuple):
    """Comparison of onnxruntime with torch."""

    difference: float
    """Difference of a score, or of a box relative to the longer side of the image: the largest of all detections."""
    rounding: float
    """The same of torch in float32 and in float64; 0 where it was not needed."""
    typical: bool = False
    """Whether the difference is the median of an image's detections, see :func:`samples_cells`."""

    @property
    def holds(self) -> bool:
        """Whether the difference is one of rounding.

        >>> Agreement(2e-4, 1e-4).holds, Agreement(2e-4, 0.0).holds
        (True, False)
        """
        return self.difference <= max(TOLERANCE, ROUNDING * min(self.rounding, WORST))

    def __str__(self) -> str:
        """Return the numbers as text."""
        of_torch = f', torch itself by {self.rounding:.1e} from float64' if self.rounding else ''
        return f'{self.difference:.1e}{" in the median" if self.typical else ""}{of_torch}'


def export(graph: DetectorGraph, height: int, width: int, classes: Sequence[str] | None = None) -> bytes:
    """Return an ONNX model of opset :data:`OPSET` with a dynamic number of images and a fixed size.

    PyTorch's exporter for TorchScript writes it: the one on ``torch.export`` writes opset 18 and above, and takes many
    times as long. The metadata of the model hold names of classes, the meaning of the inputs, and the version.

    Args:
        graph: The detector.
        height: Height of the images.
        width: Width of the images.
        classes: Names of the classes.

    Raises:
        MissingDependencyError: If onnx is not installed.
    """
    if find_spec('onnx') is None:
        raise MissingDependencyError(
            "the package 'onnx' (extra 'export') is not installed; kd_plugins doctor prints the command"
        )
    import onnx

    images, sizes = smooth_images(height, width), torch.tensor([[width, height]] * 2)
    # Newer versions of torch take another exporter by default; older ones have no choice.
    choice: dict[str, Any] = {'dynamo': False} if 'dynamo' in inspect.signature(torch.onnx.export).parameters else {}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter('ignore')  # of constants in the trace, which a fixed size makes right
        file = Path(folder) / 'model.onnx'
        torch.onnx.export(
            graph.eval(),
            (images, sizes),
            str(file),
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes={name: {0: 'N'} for name in (*INPUTS, *OUTPUTS)},
            opset_version=OPSET,
            **choice,
        )
        model = onnx.load(str(file))
    model.producer_name, model.producer_version = 'kd_plugins', __version__
    meaning = {
        'images': f'RGB, 0 to 1, (N, 3, {height}, {width})',
        'sizes': 'width and height of the original images, (N, 2)',
        'boxes': 'x1, y1, x2, y2 in pixels of the original images',
    }
    onnx.helper.set_model_props(model, {**meaning, **({'classes': json.dumps(list(classes))} if classes else {})})
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def session(data: bytes | str, threads: int = 1) -> Any:
    """Return an onnxruntime session on the CPU, None where onnxruntime is not installed.

    Args:
        data: The model, or the path of a file.
        threads: Number of threads.
    """
    if find_spec('onnxruntime') is None:
        return None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    return onnxruntime.InferenceSession(data, options, providers=['CPUExecutionProvider'])


@torch.no_grad()
def predictions(detector: Any, images: Tensor, sizes: Sequence[tuple[int, int]]) -> tuple[list[Any], float]:
    """Return MMDetection's detections, through its preprocessor, and the gap at the selection of queries.

    Args:
        detector: In evaluation mode.
        images: RGB in 0..1, (N, 3, H, W).
        sizes: Original width and height of each image.

    Returns:
        Instances of each image, and the least difference of the last score that was selected and the next one.
    """
    from mmdet.structures import DetDataSample

    height, width = images.shape[2:]
    metas = [
        dict(img_shape=(height, width), ori_shape=(high, wide), scale_factor=(width / wide, height / high))
        for wide, high in sizes
    ]
    samples = [DetDataSample(metainfo=meta) for meta in metas]
    seen: list[Tensor] = []
    scorer = detector.bbox_head.cls_branches[detector.decoder.num_layers]
    handle = scorer.register_forward_hook(lambda module, args, output: seen.append(output))
    try:
        # MMCV loads BGR.
        batch = dict(inputs=list(255.0 * images.flip(1)), data_samples=samples)
        prepared = detector.data_preprocessor(batch, False)
        inputs = prepared['inputs'].to(next(detector.parameters()).dtype)
        results = detector.predict(inputs, prepared['data_samples'])
    finally:
        handle.remove()
    best = seen[0].amax(dim=-1).sort(dim=-1, descending=True).values
    last = detector.num_queries
    gap = (best[:, last - 1] - best[:, last]).min().item() if best.shape[1] > last else float('inf')
    return [result.pred_instances for result in results], gap


def samples_cells(detector: Any) -> bool:
    """Return whether a detector reads the nearest cells of its maps, as RT-DETRv2 with ``method='discrete'`` does.

    A point on the edge of a cell then takes one or the other by rounding. Of the thousands of points of an image some
    lie there, and torch itself is apart by 0.1 in a few detections between float32 and float64. The others agree.
    """
    return getattr(detector.decoder.layers[0].cross_attn, 'method', 'default') == 'discrete'


def apart(found: Sequence[np.ndarray], expected: Any, side: float, typical: bool = False) -> float:
    """Return the largest difference of the detections of one image, whatever the order of nearly equal scores.

    Args:
        found: Labels (K,), boxes (K, 4) and scores (K,), best first.
        expected: Instances of MMDetection, K of them.
        side: Longer side of the original image in pixels; differences of boxes are divided by it.
        typical: Whether to return the median, not the largest.
    """
    labels, boxes, scores = (torch.from_numpy(np.asarray(values)) for values in found)
    if len(labels) != len(expected.labels):
        return float('inf')
    ranked = (scores - expected.scores).abs()
    moved = (boxes[:, None] - expected.bboxes).abs().amax(dim=-1) / side
    pairs = torch.maximum(moved, (scores[:, None] - expected.scores).abs())
    pairs = pairs.masked_fill(labels[:, None] != expected.labels, torch.inf)
    # One that is nearly as good as the last may be in one list alone.
    sure = scores > torch.minimum(scores[-1], expected.scores[-1]) + max(TOLERANCE, 2 * ranked.max().item())
    nearest = pairs.amin(dim=1)[sure]
    if not (ranked.isfinite().all() and boxes.isfinite().all()):
        return float('inf')
    of_image = torch.median if typical else torch.max
    return max(of_image(values).item() for values in (ranked, nearest) if len(values))


def numbers(one: Any) -> list[np.ndarray]:
    """Return labels, boxes and scores of the detections of one image."""
    return [value.float().numpy() if value.is_floating_point() else value.numpy() for value in
            (one.labels, one.bboxes, one.scores)]  # fmt: skip


class Example(NamedTuple):
    """Image of a check, and its detections."""

    image: Tensor
    """(1, 3, H, W)."""
    size: tuple[int, int]
    """Width and height of the original image."""
    expected: Any
    """Instances of MMDetection."""
    gap: float


def examples(detector: Any, count: int, height: int, width: int) -> list[Example]:
    """Return images for which rounding is least likely to exchange the queries.

    Args:
        detector: In evaluation mode.
        count: Number of images.
        height: Their height.
        width: Their width.
    """
    found: list[Example] = []
    for seed in range(TRIES):
        image, size = smooth_images(height, width, seed, 1).clamp(0, 1), (2 * width + 7 * seed, 3 * height - seed)
        (expected,), gap = predictions(detector, image, [size])
        found.append(Example(image, size, expected, gap))
        if sum(example.gap > GAP for example in found) >= count:
            break
    return sorted(found, key=lambda example: -example.gap)[:count]


def largest(found: Sequence[Sequence[np.ndarray]], expected: Sequence[Example], typical: bool = False) -> float:
    """Return the largest difference of several images, see :func:`apart`."""
    return max(apart(one, example.expected, max(example.size), typical) for one, example in zip(found, expected))


def compare(
    runtime: Any, detector: Any, height: int, width: int, batches: Sequence[int] = (1, 2)
) -> dict[int, Agreement]:
    """Compare the detections of onnxruntime with MMDetection's prediction, for each number of images.

    Args:
        runtime: From :func:`session`.
        detector: In evaluation mode, in float32.
        height: Height of the images.
        width: Width of the images.
        batches: Numbers of images.
    """
    every, typical = examples(detector, max(batches), height, width), samples_cells(detector)
    agreements = {}
    for count in batches:
        chosen = every[:count]
        images, sizes = torch.cat([example.image for example in chosen]), [example.size for example in chosen]
        outputs = runtime.run(list(OUTPUTS), {'images': images.numpy(), 'sizes': np.array(sizes, np.int64)})
        difference, rounding = largest(list(zip(*outputs)), chosen, typical), 0.0
        if difference > TOLERANCE:
            exact, _ = predictions(copy.deepcopy(detector).double(), images, sizes)
            rounding = largest([numbers(one) for one in exact], chosen, typical)
        agreements[count] = Agreement(difference, rounding, typical)
    return agreements


__all__ = ['OPSET', 'TOLERANCE', 'Agreement', 'apart', 'compare', 'export', 'predictions', 'session']
