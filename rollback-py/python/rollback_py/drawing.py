"""Drawing that an environment does by itself while it steps: a replay must not pay for it.

Some environments draw in every step as soon as they have a ``render_mode``, whether anybody
looks or not. A frame that is simulated again would be drawn again.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rollback_py.layers import innermost

if TYPE_CHECKING:
    from collections.abc import Iterator


def draws(env: Any) -> bool:
    """Whether the environment is made for drawing, and its ``render`` can be replaced."""
    inner = innermost(env)
    return getattr(inner, "render_mode", None) is not None and hasattr(inner, "__dict__")


def hold_back(env: Any) -> None:
    """Let the environment's own calls of ``render`` draw nothing from now on."""
    vars(innermost(env))["render"] = _draw_nothing


@contextmanager
def drawing(env: Any) -> Iterator[None]:
    """Let ``render`` draw while in the block, also where it is held back."""
    fields = vars(innermost(env)) if draws(env) else {}
    held = fields.get("render")
    if held is not _draw_nothing:
        yield
        return
    del fields["render"]
    try:
        yield
    finally:
        fields["render"] = held


@contextmanager
def counted_drawings(env: Any) -> Iterator[list[None]]:
    """Count the environment's own calls of ``render`` while in the block, an element for each."""
    calls: list[None] = []
    inner = innermost(env)
    draw = inner.render

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(None)
        return draw(*arguments, **options)

    vars(inner)["render"] = counted
    try:
        yield calls
    finally:
        del vars(inner)["render"]


def _draw_nothing(*arguments: Any, **options: Any) -> None:
    """Stand in for ``render``."""
