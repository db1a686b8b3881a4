"""What other environments have, too: no state, even where the state refers to it.

It is held by the modules and classes of an environment, or by the factory that makes it.
"""

from __future__ import annotations

import gc
import sys
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from rollback_py.environment import Factory
from rollback_py.layers import layers

if TYPE_CHECKING:
    from rollback_py.simulation import Simulation

# Their contents are no constants of an environment, or hold the environments themselves.
_LEFT_OUT = frozenset({*sys.stdlib_module_names, "numpy", "rollback_py", "pytest", "_pytest"})


def constants_beside(simulation: Simulation) -> dict[int, Any]:
    """Return, by address, what is reached without the environment itself.

    Writing a state into one of these would change it for every other environment, and for good.
    """
    found: dict[int, Any] = {}
    factory = simulation.factory
    maker = (factory.function, factory.kwargs) if isinstance(factory, Factory) else factory
    pending: list[Any] = [maker, *_classes_of(simulation.env)]
    while pending:
        value = pending.pop()
        if id(value) in found or _is_left_out(value):
            continue
        found[id(value)] = value
        pending += _inside(value)
    return found


def _classes_of(env: Any) -> list[type]:
    """Return the classes of an environment, its wrappers and their fields; their modules follow."""
    found: list[type] = []
    for layer in layers(env):
        found += type(layer).__mro__
        found += map(type, getattr(layer, "__dict__", {}).values())
    return found


def _is_left_out(value: Any) -> bool:
    kind = type(value)
    if kind in (str, int, float, bool, bytes, type(None)) or isinstance(value, BuiltinFunctionType):
        return True
    if kind.__module__ == "functools" and kind.__name__ == "_lru_cache_wrapper":
        return True  # what it was called with, such as the environment
    if isinstance(value, ModuleType):
        return value.__name__.partition(".")[0] in _LEFT_OUT
    if isinstance(value, type | FunctionType):
        return str(value.__module__).partition(".")[0] in _LEFT_OUT
    if kind.__module__.partition(".")[0] == "rollback_py":
        return True
    # An environment that somebody holds is the state itself.
    return hasattr(kind, "reset") and hasattr(kind, "step")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, ModuleType):
        return list(vars(value).values())
    if isinstance(value, FunctionType):
        # Its globals are its module's.
        own = [value.__defaults__, value.__kwdefaults__, value.__closure__, vars(value)]
        return [sys.modules.get(str(value.__module__)), *own]
    if isinstance(value, type):
        module = sys.modules.get(str(value.__module__))
        return [module, *vars(value).values(), *value.__bases__]
    inner = gc.get_referents(value)
    base = getattr(value, "base", None) if type(value).__name__ == "ndarray" else None
    return [*inner, base]
