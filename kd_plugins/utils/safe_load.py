"""Reading of a PyTorch file without running code that it contains, with every supported torch."""

from __future__ import annotations

import codecs
import os
import pickle
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter, OrderedDict
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import _weights_only_unpickler as torch_unpickler

from ..compat import ACCEPTS_NAMES, allow_resume, resume_globals

Instruction = Callable[[Any], None]
INSTRUCTIONS: dict[int, Instruction] = pickle._Unpickler.dispatch
MAPPINGS = (dict, OrderedDict, Counter)
FORBIDDEN = (pickle.INST, pickle.OBJ, pickle.NEWOBJ_EX, pickle.EXT1, pickle.EXT2, pickle.EXT4)
"""Instructions that create objects in ways that ``torch.save`` never uses."""


def load_safely(path: str | os.PathLike[str]) -> Any:
    """Return the content of a PyTorch file, with its tensors on the CPU.

    Since 2.6, PyTorch's safe loader can be told everything that MMEngine's checkpoints hold. With earlier versions,
    :class:`RestrictedUnpickler` reads the file and allows the same types.

    Args:
        path: The file.

    Raises:
        pickle.UnpicklingError: If the file holds a type that is not allowed, or a TorchScript program.
    """
    refuse_program(path)
    if ACCEPTS_NAMES:
        allow_resume()
        return torch.load(path, map_location='cpu', weights_only=True)
    return load_restricted(path)


def load_restricted(path: str | os.PathLike[str]) -> Any:
    """Return the content of a PyTorch file as :class:`RestrictedUnpickler` reads it.

    Raises:
        pickle.UnpicklingError: If the file holds a type that is not allowed, or a TorchScript program.
    """
    refuse_program(path)
    return torch.load(path, map_location='cpu', pickle_module=_restricted_pickle(), weights_only=False)


def refuse_program(path: str | os.PathLike[str]) -> None:
    """Refuse a TorchScript program, which PyTorch's loaders would run or report as something else.

    Raises:
        pickle.UnpicklingError: If the file is one.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith('/constants.pkl') for name in archive.namelist()):
                raise refusal('torch.jit.ScriptModule')


@lru_cache(maxsize=1)
def allowed_globals() -> dict[str, Any]:
    """Return everything that a file may name: the list of PyTorch's safe loader, and MMEngine's own types."""
    allowed = {
        **torch_unpickler._get_allowed_globals(),
        # Added to PyTorch's list after 2.1.
        **{f'torch.{name}': getattr(torch, name) for name in ('bool', 'uint8', 'bfloat16', 'device')},
        'collections.Counter': Counter,
        '_codecs.encode': codecs.encode,
        'builtins.bytearray': bytearray,
        'builtins.complex': complex,
        'builtins.set': set,
    }
    for entry in resume_globals():
        value, name = entry if isinstance(entry, tuple) else (entry, f'{entry.__module__}.{entry.__qualname__}')
        allowed[name] = value
    return allowed


def refusal(name: str) -> pickle.UnpicklingError:
    """Return the error for something that a file may not hold, in the words of PyTorch's safe loader."""
    return pickle.UnpicklingError(f'Unsupported global: GLOBAL {name}')


def check_allowed(value: Any) -> None:
    """Refuse a function or a class that is not in the list."""
    if not any(value is allowed for allowed in allowed_globals().values()):
        raise refusal(f'{getattr(value, "__module__", "")}.{getattr(value, "__qualname__", type(value).__qualname__)}')


def call(unpickler: Any) -> None:
    """Call a function or a class of the list."""
    arguments = unpickler.stack.pop()
    function = unpickler.stack.pop()
    check_allowed(function)
    unpickler.append(function(*arguments))


def create(unpickler: Any) -> None:
    """Create an instance of a class of the list."""
    arguments = unpickler.stack.pop()
    owner = unpickler.stack.pop()
    check_allowed(owner)
    unpickler.append(owner.__new__(owner, *arguments))


def set_state(unpickler: Any) -> None:
    """Give an instance of a class of the list its state."""
    state = unpickler.stack.pop()
    instance = unpickler.stack[-1]
    check_allowed(type(instance))
    if type(instance) is torch.Tensor:
        instance.set_(*state)  # in files of PyTorch before 0.4
    elif hasattr(instance, '__setstate__'):
        instance.__setstate__(state)
    else:
        instance.__dict__.update(state)


def adding_to(types: tuple[type, ...], opcode: bytes, below: int | None = None) -> Instruction:
    """Return an instruction that adds entries to a container, for containers of some types only.

    Args:
        types: The types.
        opcode: The instruction.
        below: Position of the container on the stack; ``None`` where it lies below the last mark.
    """

    def add(unpickler: Any) -> None:
        container = unpickler.metastack[-1][-1] if below is None else unpickler.stack[below]
        if type(container) not in types:
            raise refusal(f'{type(container).__module__}.{type(container).__qualname__}')
        INSTRUCTIONS[opcode[0]](unpickler)

    return add


class RestrictedUnpickler(pickle._Unpickler):
    """Unpickler that creates and calls only what :func:`allowed_globals` lists, and changes only such objects.

    Python's unpickler in C would let a file set attributes of every object, functions included.
    """

    dispatch: ClassVar[Any] = {
        **{code: read for code, read in INSTRUCTIONS.items() if bytes([code]) not in FORBIDDEN},
        pickle.REDUCE[0]: call,
        pickle.NEWOBJ[0]: create,
        pickle.BUILD[0]: set_state,
        pickle.APPEND[0]: adding_to((list,), pickle.APPEND, -2),
        pickle.APPENDS[0]: adding_to((list,), pickle.APPENDS),
        pickle.SETITEM[0]: adding_to(MAPPINGS, pickle.SETITEM, -3),
        pickle.SETITEMS[0]: adding_to(MAPPINGS, pickle.SETITEMS),
        pickle.ADDITEMS[0]: adding_to((set,), pickle.ADDITEMS),
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return what a file names.

        Raises:
            pickle.UnpicklingError: If it is not in the list.
        """
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        if f'{module}.{name}' not in allowed_globals():
            raise refusal(f'{module}.{name}')
        return allowed_globals()[f'{module}.{name}']


def _load(file: Any, **options: Any) -> Any:
    return RestrictedUnpickler(file, **options).load()


@lru_cache(maxsize=1)
def _restricted_pickle() -> ModuleType:
    """Return a stand-in for the module ``pickle``, as ``torch.load`` takes one."""
    module = ModuleType('restricted_pickle')
    module.Unpickler = RestrictedUnpickler  # type: ignore[attr-defined]
    module.load = _load  # type: ignore[attr-defined]
    return module
