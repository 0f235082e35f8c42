"""Arguments of a forward call by their role, whatever a model names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class _Layout(NamedTuple):
    """Names of a function's positional parameters, and its default mode."""

    names: tuple[str, ...]
    mode: str


_LAYOUTS: WeakKeyDictionary[Callable[..., Any], _Layout] = WeakKeyDictionary()
"""Layout of each function that was called. Reading a signature takes longer than the rest of a call's bookkeeping."""


def _layout(forward: Callable[..., Any]) -> _Layout:
    """Return the layout of a function, or of the function of a bound method without its first parameter."""
    function = getattr(forward, '__func__', forward)
    layout = _LAYOUTS.get(function)
    if layout is None:
        parameters = signature(function).parameters
        names = tuple(name for name, parameter in parameters.items() if parameter.kind in POSITIONAL)
        mode = parameters['mode'].default if 'mode' in parameters else Parameter.empty
        layout = _LAYOUTS[function] = _Layout(names, 'tensor' if mode is Parameter.empty else str(mode))
    return layout if function is forward else layout._replace(names=layout.names[1:])


class ForwardCall:
    """Arguments of one call of an OpenMMLab model: inputs, data samples and mode.

    Models of OpenMMLab name them ``inputs``, ``data_samples`` and ``mode``. In other models of MMEngine the first and
    the second argument have these roles, for example ``forward(imgs, labels, mode)``.

    Args:
        forward: The method that is called.
        args: Its positional arguments.
        kwargs: Its keyword arguments.

    >>> def forward(imgs, labels, mode): ...
    >>> call = ForwardCall(forward, (1, 2), {'mode': 'loss'})
    >>> call.inputs, call.data_samples, call.mode, call.arguments(mode='predict')
    (1, 2, 'loss', {'imgs': 1, 'labels': 2, 'mode': 'predict'})
    """

    def __init__(self, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        layout = _layout(forward)
        data = [name for name in layout.names if name != 'mode']
        self._names = {
            role: role if role in data or role in kwargs or len(data) <= position else data[position]
            for position, role in enumerate(('inputs', 'data_samples'))
        }
        self._mode = layout.mode
        self._values = {**dict(zip(layout.names, args)), **kwargs}

    @property
    def inputs(self) -> Any:
        """Network input, ``None`` where the call has none."""
        return self._values.get(self._names['inputs'])

    @property
    def data_samples(self) -> Any:
        """Data samples or labels, ``None`` where the call has none."""
        return self._values.get(self._names['data_samples'])

    @property
    def mode(self) -> str:
        """Mode of the call: the argument, or the default of the method."""
        return str(self._values.get('mode', self._mode))

    def arguments(self, **changes: Any) -> dict[str, Any]:
        """Return the arguments by name, to call the same method again.

        Args:
            changes: New values of the roles ``inputs``, ``data_samples`` and ``mode``.
        """
        return {**self._values, **{self._names.get(role, role): value for role, value in changes.items()}}
