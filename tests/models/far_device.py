"""A simulated device: its tensors are in host memory, and every operation that would wait for it is counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

# No backend of this name is ever registered, and autograd runs it on the thread of the CPU.
DEVICE = torch.device('lazy', 0)
# What gives a result whose shape or value the host has to know.
READS = {
    '_local_scalar_dense',
    '_unique2',
    'equal',
    'is_nonzero',
    'masked_select',
    'nonzero',
    'unique_consecutive',
    'unique_dim',
}


class FarTensor(Tensor):
    """A tensor on the far device; only :class:`FarDevice` can compute with it."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> FarTensor:
        actual = Tensor._make_wrapper_subclass(
            cls, near.size(), near.stride(), near.storage_offset(), dtype=near.dtype, device=DEVICE
        )
        actual.near = near
        return actual

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f'{func} outside of FarDevice')


class _Constants(TorchFunctionMode):
    """Tensors made of Python numbers look for kernels of their device themselves: here they are made, then moved."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.new_tensor:
            like, *args = args
            kwargs = {'dtype': like.dtype, 'device': like.device} | kwargs
            func = torch.tensor
        if func is torch.tensor and kwargs.get('device') is not None:
            device = kwargs.pop('device')
            return torch.tensor(*args, **kwargs).to(device)
        return func(*args, **kwargs)


class FarDevice(TorchDispatchMode):
    """Inside it the far device exists.

    ``waits`` counts by name what waits for a GPU: reads of values, shapes that depend on values, and copies between
    host and device that are not ``non_blocking``. A host tensor of more than one number among device tensors is an
    error, as it is on a GPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.calls = 0
        self._constants = _Constants()

    def __enter__(self) -> FarDevice:
        self._constants.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._constants.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func.overloadpacket.__name__
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        far = [leaf for leaf in tensors if isinstance(leaf, FarTensor)]
        target = None if kwargs.get('device') is None else torch.device(kwargs['device']).type
        copies = name in ('_to_copy', 'copy_')
        if far and not copies:
            strangers = [leaf for leaf in tensors if not isinstance(leaf, FarTensor) and leaf.ndim]
            assert not strangers, f'{func}: a host tensor of shape {tuple(strangers[0].shape)} among device tensors'
        if far or target == DEVICE.type:
            self.calls += 1
            self._count(name, args, kwargs, far, tensors, target)
        if target == DEVICE.type:
            kwargs['device'] = 'cpu'
        out = func(*tree_map(_near, args), **tree_map(_near, kwargs))
        if func._schema.is_mutable:
            return args[0] if func._schema.returns else out
        if target == DEVICE.type or (far and target is None):
            return tree_map(lambda leaf: FarTensor(leaf) if isinstance(leaf, Tensor) else leaf, out)
        return out

    def _count(
        self, name: str, args: Any, kwargs: Any, far: list[FarTensor], tensors: list[Tensor], target: str | None
    ) -> None:
        masks = [leaf for leaf in far if leaf.dtype in (torch.bool, torch.uint8)]
        if name in READS:
            self.waits[name] += 1
        elif (
            name in ('index', 'index_put', 'index_put_')
            and masks
            and any(leaf is mask for leaf in tree_leaves(args[1]) for mask in masks)
        ):
            self.waits['boolean index'] += 1
        elif name == '_to_copy' and far and target not in (None, DEVICE.type):
            self.waits['device to host'] += 1
        elif name == '_to_copy' and not far and not kwargs.get('non_blocking'):
            self.waits['host to device'] += 1
        elif name == 'copy_' and len(far) != len(tensors):
            self.waits['device to host' if far[0] is not args[0] else 'host to device'] += 1


def _near(leaf: Any) -> Any:
    return leaf.near if isinstance(leaf, FarTensor) else leaf
