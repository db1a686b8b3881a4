"""Which environment is played, and on what numbers: what every computer of a match compares.

A factory is named by its own user, as ``module:callable``. A name that came from another computer
is compared with the user's, never imported.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import platform
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from rollback_py._rollback import RollbackError, encode_value
from rollback_py.layers import layers

# ``package.module:callable``, nothing else.
_SPEC = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")

Facts = list[tuple[str, str]]


class FactoryError(RollbackError):
    """The factory cannot be found or called; the message says what was expected."""


@dataclass(frozen=True)
class Factory:
    """A function that makes the environment, and the arguments it is called with."""

    function: Callable[..., Any]
    spec: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_spec(cls, spec: str, kwargs: Mapping[str, Any] | None = None) -> Factory:
        """Import ``module:callable``. Only for a name that this computer's user gave."""
        if not _SPEC.fullmatch(spec):
            raise FactoryError(f"expected MODULE:CALLABLE, got {spec!r}")
        module_name, _, path = spec.partition(":")
        if str(Path.cwd()) not in sys.path and "" not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            raise FactoryError(f"cannot import {module_name!r}: {error}") from None
        for name in path.split("."):
            if not hasattr(found, name):
                raise FactoryError(f"{module_name!r} has no {path!r}")
            found = getattr(found, name)
        if not callable(found):
            raise FactoryError(f"{spec} is a {type(found).__name__}, expected a function")
        return cls(found, spec, dict(kwargs or {}))

    @classmethod
    def from_callable(
        cls, function: Callable[..., Any], kwargs: Mapping[str, Any] | None = None
    ) -> Factory:
        """Name a function by its module and qualified name."""
        if not callable(function):
            raise FactoryError(
                "expected a function that makes the environment, since more than one is made, or "
                f"its name as 'module:function', got a {type(function).__name__}"
            )
        module = getattr(function, "__module__", None) or "unknown"
        if module == "__main__":
            # The same file is `kitchen` for a partner who imports it.
            file = getattr(sys.modules.get("__main__"), "__file__", None)
            module = Path(file).stem if file else module
        name = getattr(function, "__qualname__", type(function).__qualname__)
        return cls(function, f"{module}:{name}", dict(kwargs or {}))

    @property
    def is_importable(self) -> bool:
        """Whether another process could import the function by its name."""
        return _SPEC.fullmatch(self.spec) is not None and not self.spec.startswith("__main__:")

    def __call__(self) -> Any:
        """Make an environment."""
        with suppress(ValueError):  # of what has no signature that can be seen
            try:
                inspect.signature(self.function).bind(**self.kwargs)
            except TypeError as error:
                given = f" but {', '.join(self.kwargs)}" if self.kwargs else ""
                raise FactoryError(
                    f"{self.spec}: {error}: expected a function that needs no arguments{given}"
                ) from None
        return self.function(**self.kwargs)


@dataclass(frozen=True)
class EnvironmentDigest:
    """Facts about an environment and the computer it runs on, in a fixed order."""

    must_match: Facts
    """Where these differ, the computers do not simulate the same thing."""
    may_differ: Facts
    """Where these differ, floating point may: the state hashes tell."""

    @classmethod
    def of(cls, factory: Factory, env: Any, settings: Facts | None = None) -> EnvironmentDigest:
        """Collect the facts. `settings` are further ones that must match."""
        must_match = [
            ("factory", factory.spec),
            ("arguments", encode_value(dict(factory.kwargs)).hex()),
            ("wrappers", " < ".join(type(layer).__qualname__ for layer in layers(env))),
            *_code(env),
            *_spaces(env),
            ("max steps", str(_max_steps(env))),
            *(settings or []),
        ]
        return cls(must_match, numeric_facts())

    def mismatches(self, other: EnvironmentDigest) -> tuple[Facts, Facts]:
        """Name what differs, as ``mine != theirs``: what must not, and what may."""
        return (
            _differences(self.must_match, other.must_match),
            _differences(self.may_differ, other.may_differ),
        )


def numeric_facts() -> Facts:
    """Return what decides the last bits of floating point on this computer."""
    found = np.show_config("dicts")
    simd = found.get("SIMD Extensions", {}) if isinstance(found, dict) else {}
    features = [*simd.get("baseline", []), *simd.get("found", [])]
    return [
        ("python", platform.python_version()),
        ("numpy", np.__version__),
        ("system", f"{platform.system()} {platform.machine()}"),
        ("libm", " ".join(platform.libc_ver()) or platform.version()),
        ("cpu features", " ".join(features)),
        ("NPY_DISABLE_CPU_FEATURES", os.environ.get("NPY_DISABLE_CPU_FEATURES", "")),
        ("OPENBLAS_CORETYPE", os.environ.get("OPENBLAS_CORETYPE", "")),
    ]


def _code(env: Any) -> Facts:
    """Name the code of each class of the chain: a distribution and its files, or the source."""
    facts: dict[str, str] = {}
    for layer in layers(env):
        for base in type(layer).__mro__:
            module = base.__module__
            package = module.partition(".")[0]
            if package in sys.stdlib_module_names:
                continue
            names = _distributions().get(package)
            if names:
                for name in names:
                    facts[f"distribution {name}"] = _distribution(name)
            else:
                facts[f"source {module if module != '__main__' else 'main'}"] = _source(base)
    return sorted(facts.items())


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


@cache
def _distribution(name: str) -> str:
    """Return version and a hash of the installed files, without what differs by installer."""
    distribution = metadata.distribution(name)
    lines = []
    for line in (distribution.read_text("RECORD") or "").splitlines():
        path = line.split(",", 1)[0]
        if path.startswith("..") or ".dist-info/" in path or path.endswith((".pyc", ".pth")):
            continue
        lines.append(line)
    return f"{distribution.version} {_sha256(chr(10).join(sorted(lines)).encode())}"


def _source(base: type) -> str:
    try:
        source = inspect.getsourcefile(base)
        text = Path(source).read_bytes() if source else b""
    except (OSError, TypeError):
        text = b""
    return _sha256(text.replace(b"\r\n", b"\n")) if text else "unknown"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _spaces(env: Any) -> Facts:
    if not hasattr(env, "possible_agents"):
        return [("action space", repr(env.action_space))]
    agents: Iterable[Any] = env.possible_agents
    return [
        ("agents", repr(list(agents))),
        *((f"action space of {agent}", repr(env.action_space(agent))) for agent in agents),
    ]


def _max_steps(env: Any) -> Any:
    for layer in layers(env):
        fields = getattr(layer, "__dict__", {})
        for name in ("max_steps", "max_cycles", "_max_episode_steps"):
            if fields.get(name) is not None:
                return fields[name]
    return None


def _differences(mine: Facts, theirs: Facts) -> Facts:
    a, b = dict(mine), dict(theirs)
    names = [*a, *(name for name in b if name not in a)]
    return [
        (name, f"{a.get(name, 'nothing')} != {b.get(name, 'nothing')}")
        for name in names
        if a.get(name) != b.get(name)
    ]
