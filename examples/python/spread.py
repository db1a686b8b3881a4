"""MPE's simple_spread with two agents, and a scripted policy that plays either of them.

rollback play LINK --env spread:make_env --policy spread:Rover
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from mpe2 import simple_spread_v3

if TYPE_CHECKING:
    from numpy.typing import NDArray

# An episode of 33 s at 30 frames a second.
MAX_CYCLES = 1000

NOOP, LEFT, RIGHT, DOWN, UP = range(5)
ACTION_NAMES = ["no key", "left", "right", "down", "up"]


def make_env() -> Any:
    """Make the environment."""
    return simple_spread_v3.parallel_env(N=2, max_cycles=MAX_CYCLES, continuous_actions=False)


class Rover:
    """Goes to one landmark while the other agent goes to the other, and then they change places.

    It taps a key in every other frame, so that every guess of its next action is wrong.
    """

    FRAMES_A_TAP = 2
    FRAMES_HELD = 1
    # How long to stay before the agents change places, which makes them meet on the way.
    FRAMES_A_TURN = 150
    # It brakes by aiming at where it will be after so many seconds.
    LOOKAHEAD_S = 0.3

    def __init__(self) -> None:
        self._frame = 0
        self._key = NOOP
        self._landmark = 0

    def __call__(self, observation: NDArray[np.float32]) -> int:
        """Return the key that is held in the next frame."""
        phase = self._frame % self.FRAMES_A_TAP
        if self._frame == 0:
            self._landmark = _nearer_landmark(observation)
        elif self._frame % self.FRAMES_A_TURN == 0:
            self._landmark = 1 - self._landmark
        self._frame += 1
        if phase == 0:
            self._key = self._key_towards(observation)
        return self._key if phase < self.FRAMES_HELD else NOOP

    def _key_towards(self, observation: NDArray[np.float32]) -> int:
        velocity, landmarks = observation[0:2], observation[4:8].reshape(2, 2)
        right, up = landmarks[self._landmark] - velocity * self.LOOKAHEAD_S
        if abs(right) >= abs(up):
            return RIGHT if right > 0 else LEFT
        return UP if up > 0 else DOWN


def _nearer_landmark(observation: NDArray[np.float32]) -> int:
    """Return the landmark for this agent so that both agents together have the least way.

    Both reckon with the same numbers, so each takes the one that the other does not.
    """
    landmarks, other = observation[4:8].reshape(2, 2), observation[8:10]
    mine = np.linalg.norm(landmarks, axis=1)
    others = np.linalg.norm(landmarks - other, axis=1)
    return 0 if mine[0] + others[1] <= mine[1] + others[0] else 1
