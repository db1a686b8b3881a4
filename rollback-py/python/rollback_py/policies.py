"""What may play: functions of the observation, and people at a keyboard."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from rollback_py._rollback import RollbackError

if TYPE_CHECKING:
    import numpy as np

Policy = Callable[[Any], Any]
"""Takes an observation, returns an action."""

# The bits of the flags beside an input, as recordings hold them.
FOCUSED, IDLE_FILLED, BY_POLICY = 1, 2, 4


@runtime_checkable
class Person(Protocol):
    """Somebody who plays at this computer: shown each frame, asked for each action."""

    def action(self) -> Any:
        """Return what the person does now."""

    def is_focused(self) -> bool:
        """Return whether the person's window has the focus."""

    def show(self, picture: np.ndarray[Any, Any] | None, caption: str) -> None:
        """Show a frame; `picture` is height x width x 3 bytes, or None if there is none."""

    def close(self) -> None:
        """Close the window."""


def require_player(agent: Any, player: Any) -> None:
    """See that it can be asked for actions; raises `TypeError` if not."""
    if isinstance(player, type):
        raise TypeError(f"{agent}: expected one that plays, got the class: {player.__name__}(…)?")
    if not isinstance(player, Person) and not callable(player):
        raise TypeError(f"{agent}: expected a function of the observation, got {player!r}")


class Keyboard:
    """A window of pygame that shows the environment and turns held keys into actions."""

    def __init__(
        self,
        keys: Mapping[str, Any],
        *,
        noop: Any = None,
        zoom: float = 1.0,
        title: str = "rollback",
    ) -> None:
        """`keys` gives the action of each key, by the names of pygame (``"w"``, ``"space"``).

        `noop` is the action while no key is held; None means the idle action of the space. When
        several keys are held, the one pressed last counts.
        """
        try:
            import pygame
        except ImportError as error:
            raise RollbackError(
                "a keyboard needs pygame: pip install 'rollback-py[play]'"
            ) from error
        if not isinstance(keys, Mapping):
            raise TypeError(f"keys: expected a dict such as {{'w': 0, 's': 1}}, got {keys!r}")
        self._pygame = pygame
        # Else SDL takes SIGTERM for itself, and nothing ends a process that waits for the others.
        os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")
        pygame.display.init()  # the names of keys are known from here on
        self._keys = {self._code(name): action for name, action in keys.items()}
        self._noop = noop
        self._zoom = zoom
        self._title = title
        self._held: list[int] = []
        self._screen: Any = None

    def action(self) -> Any:
        """Return the action of the key pressed last of those held."""
        self._pump()
        return self._keys[self._held[-1]] if self._held else self._noop

    def is_focused(self) -> bool:
        """Return whether the window has the focus."""
        return self._screen is not None and bool(self._pygame.key.get_focused())

    def show(self, picture: np.ndarray[Any, Any] | None, caption: str) -> None:
        """Draw a frame; without a picture the title says how to get one."""
        pygame = self._pygame
        height, width = (240, 320) if picture is None else picture.shape[:2]
        size = (round(width * self._zoom), round(height * self._zoom))
        if self._screen is None:
            pygame.display.init()
            self._screen = pygame.display.set_mode(size)
        if picture is None:
            caption = "no picture: make the environment with render_mode='rgb_array'"
        pygame.display.set_caption(f"{self._title}: {caption}")
        if picture is not None:
            surface = pygame.surfarray.make_surface(picture.swapaxes(0, 1))
            self._screen.blit(pygame.transform.scale(surface, size), (0, 0))
        pygame.display.flip()
        self._pump()

    def close(self) -> None:
        """Close the window. The next frame that is shown opens it again."""
        self._held.clear()
        if self._screen is not None:
            self._pygame.display.quit()
            self._screen = None

    def _code(self, name: str) -> int:
        try:
            return int(self._pygame.key.key_code(name))
        except ValueError:
            raise RollbackError(
                f"there is no key {name!r}: expected names of pygame such as 'w' or 'space'"
            ) from None

    def _pump(self) -> None:
        pygame = self._pygame
        if self._screen is None:
            return
        for event in pygame.event.get():
            if event.type == pygame.KEYDOWN and event.key in self._keys:
                self._held.append(event.key)
            elif event.type == pygame.KEYUP and event.key in self._held:
                self._held.remove(event.key)
            elif event.type == pygame.QUIT:
                raise KeyboardInterrupt


def keyboard(keys: Mapping[str, Any], *, noop: Any = None, zoom: float = 1.0) -> Keyboard:
    """Let a person play: `keys` gives the action of each key, as in ``{"w": 0, "s": 1}``.

    It is one window, and may be given for several agents: all of them do what the keys say.
    """
    return Keyboard(keys, noop=noop, zoom=zoom)
