"""The wrappers around an environment, and the environment inside them."""

from __future__ import annotations

from typing import Any

# How wrappers of gymnasium and PettingZoo call what they wrap.
_INNER = ("env", "aec_env", "par_env")

# More wrappers than anybody stacks; ends a chain that leads back to itself.
_LAYERS_MAX = 64


def layers(env: Any) -> list[Any]:
    """Return the environment itself first, its outermost wrapper last."""
    return [layer for _, layer in _chain(env)][::-1]


def innermost(env: Any) -> Any:
    """Return the environment inside all wrappers."""
    return layers(env)[0]


def rename(env: Any, leaves: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Shorten paths that lead through the wrappers.

    ``env.env.agents[1].pos`` becomes ``agents[1].pos``, a field of the environment itself;
    ``env._elapsed_steps`` becomes ``TimeLimit._elapsed_steps``.
    """
    chain = _chain(env)
    names: dict[str, str] = {}
    for prefix, layer in chain[:-1]:
        names[prefix] = type(layer).__name__
    names[chain[-1][0]] = ""
    # The longest prefix first: the innermost layer that a path leads into.
    prefixes = sorted(names, key=len, reverse=True)

    def short(path: str) -> str:
        for prefix in prefixes:
            rest = path[len(prefix) :]
            if path.startswith(prefix) and (not prefix or not rest or rest[0] in ".["):
                name = names[prefix]
                rest = rest.removeprefix(".")
                joint = "." if name and rest and rest[0] != "[" else ""
                return f"{name}{joint}{rest}"
        return path

    return [(short(path), digest) for path, digest in leaves]


def _chain(env: Any) -> list[tuple[str, Any]]:
    """Return the layers from the outermost inwards, each with the path that leads to it."""
    found = [("", env)]
    while len(found) < _LAYERS_MAX:
        prefix, layer = found[-1]
        fields = getattr(layer, "__dict__", {})
        attribute = next((name for name in _INNER if hasattr(fields.get(name), "reset")), None)
        if attribute is None:
            break
        found.append((f"{prefix}.{attribute}".removeprefix("."), fields[attribute]))
    return found
