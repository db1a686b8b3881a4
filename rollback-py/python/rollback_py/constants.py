"""What an environment's modules and classes hold: no state, even where the state refers to it."""

from __future__ import annotations

import gc
import sys
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

# Their contents are no constants of an environment, or hold the environments themselves.
_LEFT_OUT = frozenset({*sys.stdlib_module_names, "numpy", "rollback_py", "pytest", "_pytest"})


def constants_beside(env: Any) -> dict[int, Any]:
    """Return, by address, what is reached from the modules of an environment without itself.

    Writing a state into one of these would change it for every other environment, and for good.
    """
    found: dict[int, Any] = {}
    pending: list[Any] = [*_modules_of(env)]
    while pending:
        value = pending.pop()
        if id(value) in found or _is_left_out(value):
            continue
        found[id(value)] = value
        pending += _inside(value)
    return found


def _modules_of(env: Any) -> list[ModuleType]:
    names: set[str] = set()
    layer = env
    seen: set[int] = set()
    while layer is not None and id(layer) not in seen:
        seen.add(id(layer))
        names.update(base.__module__ for base in type(layer).__mro__)
        own = getattr(layer, "__dict__", {})
        names.update(type(value).__module__ for value in own.values())
        layer = own.get("env", own.get("aec_env"))
    modules = [sys.modules.get(name) for name in names]
    return [module for module in modules if module is not None]


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
