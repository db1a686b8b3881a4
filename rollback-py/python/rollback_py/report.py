"""What happened in recorded episodes, as a picture: rewards, actions, rollbacks, the network."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rollback_py._rollback import RecordingFile
from rollback_py.env_game import EnvGame
from rollback_py.recording_table import Players, Table, players_of
from rollback_py.recordings import EnvSource, MissingLibraryError, factory_of
from rollback_py.side_file import SideFile, side_path
from rollback_py.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_INCHES_PER_EPISODE = 7.0
_DOTS_PER_INCH = 110

# More colours than these are not told apart; more actions than these are drawn without a legend.
_LEGEND_MAX = 20

# More stripes than these are thinner than two dots, and some would not be seen.
_STRIPES_MAX = 340

_GROUND = (0.93, 0.93, 0.93, 1.0)


@dataclass(frozen=True)
class Course:
    """What the agents did in an episode, and what it brought them, for each stable frame."""

    agents: list[str]
    fps: int
    rewards: NDArray[np.float64]
    """A row for each agent, a column for each frame; 0 where an agent took no part any more."""
    actions: NDArray[np.int64] | None
    """As the rewards; None unless all actions are of Discrete spaces."""

    @classmethod
    def of(cls, recording: str | os.PathLike[str], env: EnvSource | None = None) -> Course:
        """Read it from a recording, which may need the environment to tell its spaces."""
        file = RecordingFile(os.fspath(recording))
        players = _players(file, env)
        is_discrete = players.kind == "int64"
        table = Table(file, players, is_discrete)
        names = [name for name, _, _ in table.columns()]
        rewards: list[float] = []
        actions: list[int] = []
        for group in table.groups():
            rewards += [reward or 0.0 for reward in group[names.index("reward")]]
            if is_discrete:
                # Bytes that are no action were played as the idle one, the space's first.
                actions += [action or 0 for action in group[names.index("action")]]
        shape = (-1, len(players.names))
        return cls(
            agents=players.names,
            fps=int(file.config["tick_rate_hz"]),
            rewards=np.array(rewards, dtype=np.float64).reshape(shape).T,
            actions=np.array(actions, dtype=np.int64).reshape(shape).T if is_discrete else None,
        )

    @property
    def frames(self) -> int:
        """How many frames were played."""
        return int(self.rewards.shape[1])

    def changes_per_second(self) -> NDArray[np.int64]:
        """Count for each agent how often its action changed, in each whole second."""
        if self.actions is None:
            raise ValueError("the actions are not of Discrete spaces")
        changed = np.diff(self.actions, axis=1) != 0
        seconds = changed.shape[1] // self.fps
        whole = changed[:, : seconds * self.fps]
        counts: NDArray[np.int64] = whole.reshape(len(self.agents), seconds, self.fps).sum(axis=2)
        return counts


@dataclass(frozen=True)
class _Side:
    """What one computer noted beside its recording."""

    seconds: list[float] = field(default_factory=list)
    rtt_ms: list[float] = field(default_factory=list)
    jitter_ms: list[float] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, recording: str | os.PathLike[str]) -> _Side:
        side = cls()
        if not side_path(recording).exists():
            return side
        file = SideFile.open(recording)
        if file.summary is not None:
            side.depths.extend(file.summary["rollback_depths"])
        for note in file.named("sample"):
            peers = [peer for peer in note["peers"] if peer["rtt_ms"] is not None]
            if peers:
                # The farthest of the others is the one that matters.
                farthest = max(peers, key=lambda peer: float(peer["rtt_ms"]))
                side.seconds.append(note["t"])
                side.rtt_ms.append(farthest["rtt_ms"])
                side.jitter_ms.append(farthest["jitter_ms"] or 0.0)
        return side


def plot(
    episodes: Sequence[Sequence[str | os.PathLike[str]]],
    picture: str | os.PathLike[str],
    *,
    env: EnvSource | None = None,
    title: str = "",
    action_names: Sequence[str] = (),
) -> Path:
    """Draw episodes side by side, and write the picture in the format that its name ends with.

    Each episode is given by its recordings, one of each computer in the order of their slots; of
    the computers that noted it, the rollbacks and the network are drawn as well. The environment is
    needed where the recordings do not tell the action spaces; else the actions are not drawn.
    """
    figure_class = _figure_class()
    courses = [Course.of(recordings[0], env) for recordings in episodes]
    has_actions = all(course.actions is not None for course in courses)
    heights = [3.0, 1.6, 2.2, 2.2] if has_actions else [3.0, 2.2, 2.2]
    figure: Figure = figure_class(
        figsize=(_INCHES_PER_EPISODE * len(episodes), sum(heights) + 1.8),
        dpi=_DOTS_PER_INCH,
        layout="constrained",
    )
    if title:
        figure.suptitle(title, fontsize=13)
    rows = figure.subplots(
        len(heights), len(episodes), squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for number, (course, recordings) in enumerate(zip(courses, episodes, strict=True)):
        axes: list[Axes] = list(rows[:, number])
        sides = [_Side.of(recording) for recording in recordings]
        _draw_rewards(axes[0], course, f"Episode {number}")
        if has_actions and course.frames:
            axes[1].sharex(axes[0])
            _draw_actions(axes[1], course, action_names)
        _draw_rollbacks(axes[-2], sides)
        _draw_network(axes[-1], sides)
    for row in rows[-2:]:
        _level(row)
    path = Path(picture)
    figure.savefig(path)
    return path


def _players(file: RecordingFile, env: EnvSource | None) -> Players:
    if env is None or isinstance(env, EnvGame):
        return players_of(file, env)
    simulation = Simulation(factory_of(env))
    try:
        return players_of(file, simulation)
    finally:
        simulation.close()


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingLibraryError("a picture needs matplotlib: pip install matplotlib") from error
    return Figure  # without pyplot no window is opened, and no backend chosen


def _draw_rewards(axes: Axes, course: Course, name: str) -> None:
    frames = np.arange(1, course.frames + 1)
    widest = 2.0 * len(course.agents)
    for player, agent in enumerate(course.agents):
        # Agents may earn the same: each line is thinner than the one below it.
        total = course.rewards[player].cumsum()
        label = f"{_agent_name(agent)}: {total[-1] if total.size else 0:.1f} in all"
        axes.plot(frames, total, label=label, linewidth=widest - 2.0 * player)
    seconds = course.frames / course.fps
    axes.set_title(f"{name}: {course.frames} frames, {seconds:.1f} s at {course.fps} fps")
    axes.set_xlabel("frame")
    axes.set_ylabel("cumulative reward")
    axes.set_xlim(0, max(course.frames, 1))
    axes.grid(alpha=0.3)
    axes.legend(loc="best")


def _draw_actions(axes: Axes, course: Course, names: Sequence[str]) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    assert course.actions is not None
    used = np.unique(course.actions)
    palette = colormaps["tab10" if len(used) <= 10 else "tab20"]
    by_action = {action: palette(index % palette.N) for index, action in enumerate(used.tolist())}
    # The action that is taken most often is the ground on which the others stand out.
    positions = np.searchsorted(used, course.actions)
    ground = int(np.bincount(positions.ravel()).argmax())
    by_action[int(used[ground])] = _GROUND
    frames_a_stripe = -(-course.frames // _STRIPES_MAX)
    axes.imshow(
        _stripes(positions, ground, frames_a_stripe),
        aspect="auto",
        interpolation="nearest",
        cmap=ListedColormap(list(by_action.values())),
        vmin=-0.5,
        vmax=len(used) - 0.5,
        extent=(0, course.frames, len(course.agents) - 0.5, -0.5),
    )
    of_frames = f", the first other than {_name_of(int(used[ground]), names)!r} of every "
    some = f"{of_frames}{frames_a_stripe}" if frames_a_stripe > 1 else ""
    axes.set_yticks(range(len(course.agents)), [_agent_name(agent) for agent in course.agents])
    axes.set_xlabel(f"frame (actions{some})")
    if len(used) <= _LEGEND_MAX:
        patches = [
            Patch(facecolor=colour, label=_name_of(action, names))
            for action, colour in by_action.items()
        ]
        axes.legend(
            handles=patches, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.35), fontsize=8
        )


def _stripes(positions: NDArray[np.int64], ground: int, frames_a_stripe: int) -> NDArray[np.int64]:
    """Return of every few frames the first action that is not the ground, or the ground."""
    agents, frames = positions.shape
    missing = -frames % frames_a_stripe
    padded = np.pad(positions, ((0, 0), (0, missing)), constant_values=ground)
    grouped = padded.reshape(agents, -1, frames_a_stripe)
    first = (grouped != ground).argmax(axis=2)
    return np.take_along_axis(grouped, first[:, :, None], axis=2)[:, :, 0]


def _agent_name(agent: str) -> str:
    return agent if agent.startswith("agent") else f"agent {agent}"


def _name_of(action: int, names: Sequence[str]) -> str:
    return f"{action} {names[action]}" if 0 <= action < len(names) else f"action {action}"


def _draw_rollbacks(axes: Axes, sides: Sequence[_Side]) -> None:
    seen = [depth for side in sides for depth, n in enumerate(side.depths, 1) if n]
    deepest = max(seen, default=1)
    depths = np.arange(1, deepest + 1)
    width = 0.8 / max(len(sides), 1)
    for slot, side in enumerate(sides):
        counts = [side.depths[depth - 1] if depth <= len(side.depths) else 0 for depth in depths]
        shift = (slot - (len(sides) - 1) / 2) * width
        bars = axes.bar(depths + shift, counts, width, label=f"peer {slot}: {sum(counts)} in all")
        axes.bar_label(bars, labels=[str(n) if n else "" for n in counts], fontsize=7)
    axes.set_xticks(depths)
    axes.set_xlabel("frames rolled back and simulated again")
    axes.set_ylabel("rollbacks")
    axes.margins(y=0.15)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="upper right")


def _draw_network(axes: Axes, sides: Sequence[_Side]) -> None:
    for slot, side in enumerate(sides):
        (line,) = axes.plot(side.seconds, side.rtt_ms, label=f"peer {slot}: round trip")
        axes.plot(
            side.seconds,
            side.jitter_ms,
            label=f"peer {slot}: jitter",
            linestyle="--",
            color=line.get_color(),
        )
    axes.set_xlabel("seconds since the episode began")
    axes.set_ylabel("milliseconds")
    axes.set_ylim(bottom=0)
    axes.margins(y=0.25)
    axes.grid(alpha=0.3)
    axes.legend(loc="best", ncols=len(sides), fontsize=8)


def _level(row: Sequence[Axes]) -> None:
    """Give the same quantity the same scale in every episode."""
    top = max(axes.get_ylim()[1] for axes in row)
    for axes in row:
        axes.set_ylim(0, top)
