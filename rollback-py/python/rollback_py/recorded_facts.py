"""Facts as they are sent and recorded: a text that is too long is its begin and a digest of it."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from rollback_py.environment import EnvironmentDigest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollback_py.env_game import EnvGame
    from rollback_py.environment import Factory, Facts

# What fits one datagram beside everything else that a hello says.
_MUST_MATCH_BYTES_MAX = 660
_MAY_DIFFER_BYTES_MAX = 260

# The longest text that a recording's header holds.
_TEXT_BYTES_MAX = 255

# The mark of a shortened text and the begin of its SHA-256.
_SHORTENED = re.compile(r"(?s)(.*)… ([0-9a-f]{12})")
_TAIL_BYTES = len("… ".encode()) + 12


def settings_of(game: EnvGame, observations: bool) -> Facts:
    """Name the options that decide what is hashed and recorded."""
    return [
        ("snapshot", game.strategy or "none"),
        ("unhashed fields", " ".join(sorted(game.findings.unhashed))),
        ("global generators", str(game.findings.uses_global_random)),
        ("new environment each episode", str(game.findings.resets_differ is not None)),
        ("excluded info keys", " ".join(sorted(game.simulation.excluded_info_keys))),
        ("observations recorded", str(observations)),
    ]


def facts_to_send(factory: Factory, game: EnvGame, observations: bool) -> tuple[Facts, Facts]:
    """Return what must be equal on all computers, and what may differ, as a hello says them."""
    digest = EnvironmentDigest.of(factory, game.env, settings_of(game, observations))
    return (
        _fitted(digest.must_match, _MUST_MATCH_BYTES_MAX),
        _fitted(digest.may_differ, _MAY_DIFFER_BYTES_MAX),
    )


def shortened(text: str, bytes_max: int) -> str:
    """Return a text of at most `bytes_max` bytes, which still tells long texts apart."""
    encoded = text.encode()
    if len(encoded) <= bytes_max:
        return text
    begin = encoded[: bytes_max - _TAIL_BYTES].decode(errors="ignore")
    return f"{begin}… {_digest(text)}"


def as_recorded(facts: Facts) -> Facts:
    """Return facts that a recording can hold."""
    return [
        (shortened(name, _TEXT_BYTES_MAX), shortened(value, _TEXT_BYTES_MAX))
        for name, value in facts
    ]


def differences(recorded: Facts, local: Facts) -> Iterator[tuple[str, str, str | None]]:
    """Name each fact that differs, with the recorded value and the one here, None if there is none.

    Facts that only one side has are passed over, but for the code that the other does not run.
    """
    for name, value in recorded:
        found = next((mine for known, mine in local if _is_same(name, known)), None)
        if found is not None and not _is_same(value, found):
            yield name, value, found
        elif found is None and name.startswith(("distribution ", "source ")):
            yield name, value, None


def _fitted(facts: Facts, bytes_max: int) -> Facts:
    """Shorten facts so that all fit a datagram: what only must be equal before what is read."""
    code = [fact for fact in facts if fact[0].startswith(("distribution ", "source "))]
    folded = [("code", hashlib.sha256(repr(code).encode()).hexdigest()[:32])]
    folded += [fact for fact in facts if fact not in code]
    for candidates in (facts, folded):
        for limit in (200, 80, 48, 32):
            fitted = [(shortened(name, 40), shortened(value, limit)) for name, value in candidates]
            if sum(len(n.encode()) + len(v.encode()) + 2 for n, v in fitted) <= bytes_max:
                return fitted
    return [("all facts", hashlib.sha256(repr(facts).encode()).hexdigest())]


def _is_same(recorded: str, local: str) -> bool:
    if recorded == local:
        return True
    short = _SHORTENED.fullmatch(recorded)
    return short is not None and local.startswith(short[1]) and short[2] == _digest(local)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
