"""Faster form of a network with fixed weights: folded BatchNorm layers, and channels last on a CPU."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ..taps import TapSet
from ..utils.memory_format import set_channels_last

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)
WRAPPERS = ('mmcv.cnn.bricks.wrappers', 'timm.layers.conv2d_same')
"""Modules of subclasses of the convolutions that compute the same, but for the padding of the input."""
NORM_WITH_ACTIVATION = 'timm.layers.norm_act.BatchNormAct2d'
TOLERANCES = {torch.bfloat16: 0.1, torch.float16: 0.02}
"""Largest relative difference that counts as rounding. A wrong fold changes an output by its own size."""
FLOAT_TOLERANCE = 0.01
"""The same for float32, which includes the rounding of TF32 convolutions."""


class Pair(NamedTuple):
    """Names of a convolution and of the BatchNorm layer that follows it."""

    conv: str
    norm: str


class Output(NamedTuple):
    """Output of one call of a convolution."""

    conv: str
    tensor: weakref.ref[Tensor]
    version: int

    def is_still(self, tensor: Tensor) -> bool:
        """Return whether a tensor is this output, not changed in place, as by ``x += shortcut``."""
        return self.tensor() is tensor and tensor._version == self.version


class PairFinder:
    """Finds the BatchNorm layers whose only input is the output of one convolution that has no other reader.

    A pair is proven by the tensors of a forward pass, not by names: each call of the convolution is followed by a call
    of the BatchNorm layer with the very tensor, and neither layer is called otherwise. So a convolution that several
    BatchNorm layers share, as in the heads of RTMDet, is left alone. So is a layer with a forward hook, such as a tap.

    Args:
        model: The network.
        shared: Modules that belong to another network as well.
    """

    def __init__(self, model: nn.Module, shared: Iterable[nn.Module] = ()) -> None:
        foreign = {member for module in shared for member in module.modules()}
        layers = {name: module for name, module in model.named_modules() if module not in foreign}
        self._convs = {name: layer for name, layer in layers.items() if is_foldable_conv(layer)}
        self._norms = {name: layer for name, layer in layers.items() if is_foldable_norm(layer)}
        self._outputs: dict[int, Output] = {}
        self._calls: Counter[str] = Counter()
        self._pairs: Counter[Pair] = Counter()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Watch one forward pass. Only weak references to its tensors are kept."""
        handles = [layer.register_forward_hook(self._conv_ran(name)) for name, layer in self._convs.items()]
        handles += [layer.register_forward_hook(self._norm_ran(name)) for name, layer in self._norms.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _conv_ran(self, name: str) -> Any:
        def note(module: nn.Module, args: Any, output: Tensor) -> None:
            self._calls[name] += 1
            self._outputs[id(output)] = Output(name, weakref.ref(output), output._version)

        return note

    def _norm_ran(self, name: str) -> Any:
        def note(module: nn.Module, args: Any, normalized: Tensor) -> None:
            self._calls[name] += 1
            if args and id(args[0]) in self._outputs and self._outputs[id(args[0])].is_still(args[0]):
                self._pairs[Pair(self._outputs.pop(id(args[0])).conv, name)] += 1

        return note

    def pairs(self) -> list[Pair]:
        """Return the pairs, in the order of their first call."""
        calls = self._calls
        return [pair for pair, count in self._pairs.items() if calls[pair.conv] == calls[pair.norm] == count]


def is_foldable_conv(layer: nn.Module) -> bool:
    """Return whether a layer is a plain convolution that nobody watches."""
    plain = type(layer) in CONVOLUTIONS or (isinstance(layer, CONVOLUTIONS) and type(layer).__module__ in WRAPPERS)
    if not plain or _is_watched(layer) or layer._parameters.get('weight') is None:
        return False
    # torch's helper scales the output channels of one group.
    return not (isinstance(layer, TRANSPOSED) and layer.groups > 1)


def is_foldable_norm(layer: nn.Module) -> bool:
    """Return whether a layer is a BatchNorm layer with fixed statistics that nobody watches."""
    if not isinstance(layer, _BatchNorm):
        return False
    if type(layer).forward not in (_BatchNorm.forward, SyncBatchNorm.forward) and not has_activation(layer):
        return False
    return not layer.training and layer.running_mean is not None and not _is_watched(layer)


def has_activation(norm: nn.Module) -> bool:
    """Return whether a layer is timm's BatchNorm with a dropout layer and an activation inside."""
    return f'{type(norm).__module__}.{type(norm).__qualname__}' == NORM_WITH_ACTIVATION


def rest_of(norm: Any) -> nn.Module:
    """Return what a BatchNorm layer computes after its normalisation, the identity in most cases."""
    rest = nn.Sequential(norm.drop, norm.act) if has_activation(norm) else nn.Identity()
    return rest.train(norm.training)


def _is_watched(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks or 'forward' in vars(layer))


class FastForm(NamedTuple):
    """Changes of a network that leave its outputs the same, within rounding."""

    pairs: list[Pair]
    channels_last: bool


class Folded:
    """A network in a faster form, and the way back.

    Each BatchNorm layer becomes an identity, as in MMCV's ``fuse_conv_bn``, or its activation. The weights of a folded
    convolution are new tensors, so a convolution that shares its weights with another layer does not change that layer.

    Args:
        model: The network; changed in place.
        form: The changes; layers that cannot be folded in this network are left as they are.
    """

    def __init__(self, model: nn.Module, form: FastForm) -> None:
        layers = dict(model.named_modules())
        self._model = model
        self._weights: list[tuple[nn.Module, Any, Any]] = []
        self._replaced: dict[nn.Module, nn.Module] = {}
        self._channels_last = form.channels_last
        for pair in form.pairs:
            conv, norm = layers.get(pair.conv), layers.get(pair.norm)
            if conv is not None and norm is not None and is_foldable_conv(conv) and is_foldable_norm(norm):
                self._fold(conv, norm)
        self._replace(self._replaced)
        if form.channels_last:
            set_channels_last(model)

    def __len__(self) -> int:
        return len(self._replaced)

    @torch.no_grad()
    def _fold(self, conv: Any, norm: Any) -> None:
        self._weights.append((conv, conv.weight, conv.bias))
        weight, bias = fuse_conv_bn_weights(
            conv.weight,
            conv.bias,
            norm.running_mean,
            norm.running_var,
            norm.eps,
            norm.weight,
            norm.bias,
            transpose=isinstance(conv, TRANSPOSED),
        )
        conv.weight, conv.bias = weight.requires_grad_(False), bias.requires_grad_(False)
        self._replaced[norm] = rest_of(norm)

    def _replace(self, replacements: dict[nn.Module, nn.Module]) -> None:
        for module in list(self._model.modules()):
            for name, child in module._modules.items():
                if child in replacements:
                    module._modules[name] = replacements[child]

    def undo(self) -> None:
        """Restore the network."""
        for conv, weight, bias in self._weights:
            conv.weight, conv.bias = weight, bias
        self._replace({identity: norm for norm, identity in self._replaced.items()})
        if self._channels_last:
            set_channels_last(self._model, enabled=False)
        self._weights, self._replaced = [], {}


def equal_but_for_rounding(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    """Return whether two networks gave the same tensors, within the rounding of their dtype.

    >>> equal_but_for_rounding([torch.ones(3)], [torch.ones(3) + 1e-6])
    True
    >>> equal_but_for_rounding([torch.ones(3)], [torch.ones(3) * 1.1])
    False
    """
    if [tensor.shape for tensor in first] != [tensor.shape for tensor in second]:
        return False
    return all(_close(one, other) for one, other in zip(first, second))


def _close(first: Tensor, second: Tensor) -> bool:
    if first.is_sparse or not first.numel():
        return True
    difference = (second.float() - first.float()).norm()
    return bool(difference <= TOLERANCES.get(first.dtype, FLOAT_TOLERANCE) * first.float().norm())


class BatchNormFolding:
    """Faster form of a teacher's network, decided once by its first forward pass.

    BatchNorm layers are folded into convolutions. On a CPU, convolutions compute with channels last, which also makes
    pooling faster. The outputs of the taps are compared before and after. If they differ by more than rounding, as
    where the output of a convolution has a second reader, the network is restored.

    Args:
        model: The teacher's network, in eval mode.
        shared: Modules of the network that another network uses as well, and that stay as they are.
        key: Config key of the teacher, for the log.
        enabled: Whether anything is changed.
    """

    def __init__(
        self, model: nn.Module, shared: Iterable[nn.Module] = (), key: str = 'teacher', enabled: bool = True
    ) -> None:
        self.done = not enabled
        self.form: FastForm | None = None
        """The form of the network, ``None`` before the decision."""
        self._model = model
        self._shared = list(shared)
        self._key = key

    def state(self) -> dict[str, Any] | None:
        """Return the form in plain types, for a checkpoint."""
        if self.form is None:
            return None
        return {'pairs': [list(pair) for pair in self.form.pairs], 'channels_last': self.form.channels_last}

    def load_state(self, state: Mapping[str, Any] | None) -> None:
        """Use the form of a checkpoint, so that a resumed run computes the same as an uninterrupted one."""
        if state is not None:
            self.form = FastForm([Pair(*pair) for pair in state['pairs']], bool(state['channels_last']))

    def apply(self, forward: Callable[[], None], taps: TapSet) -> None:
        """Decide the form by comparing outputs, where no checkpoint has it, and give it to the network.

        Args:
            forward: Runs the network once, while the taps record.
            taps: Taps on the network.
        """
        self.done = True
        on_cpu = all(param.device.type == 'cpu' for param in self._model.parameters())
        if self.form is not None:
            self.form = self.form._replace(channels_last=self.form.channels_last and on_cpu)
            Folded(self._model, self.form)
        else:
            self.form = self._decide(forward, taps, on_cpu and not self._shared)
        # Losses get the memory format that they would get without this.
        taps.contiguous = self.form.channels_last

    def _decide(self, forward: Callable[[], None], taps: TapSet, suits_channels_last: bool) -> FastForm:
        finder = PairFinder(self._model, self._shared)
        with finder.watch():
            forward()
        pairs, before = finder.pairs(), taps.recorded()
        unchanged, message = FastForm([], False), ''
        for form in (FastForm(pairs, suits_channels_last), FastForm(pairs, False)):
            if form == unchanged:
                break
            folded = Folded(self._model, form)
            if self._is_unchanged(before, forward, taps):
                unchanged, message = form, f'{len(folded)} BatchNorm layers are folded into convolutions'
                break
            folded.undo()
            message = 'BatchNorm layers are not folded into convolutions, because that would change the tapped outputs'
        if pairs:
            print_log(f'{self._key}: {message}', 'current')
        return unchanged

    def _is_unchanged(self, before: Sequence[Tensor], forward: Callable[[], None], taps: TapSet) -> bool:
        try:
            forward()
        # A network may read attributes of its BatchNorm layers, which an identity lacks, or need another memory format.
        except Exception:
            return False
        return equal_but_for_rounding(before, taps.recorded())
