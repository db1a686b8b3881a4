"""What is wrong with an environment is told before anybody is waited for."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import rollback_py as rb
from rollback_py.cli import main


@pytest.fixture
def link() -> Iterator[str]:
    server = rb.Server("127.0.0.1:0", players=1)
    yield f"ws://{server.address}/room"
    server.stop()


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("KeepsTheTime", "sample_envs:KeepsTheTime is not deterministic .* seed every generator"),
        ("HoldsAGenerator", "sample_envs:HoldsAGenerator cannot be saved .*ticks.* in lockstep"),
    ],
)
def test_what_the_self_test_found_is_a_warning_with_its_remedy(
    env: str, message: str, link: str, tmp_path: Path
) -> None:
    with pytest.warns(rb.EnvironmentWarning, match=message) as caught:
        rb.join(link, env=f"sample_envs:{env}", data=tmp_path).close()
    (told,) = caught
    assert "`rollback check" in str(told.message)
    assert "\n" not in str(told.message)
    assert told.filename == __file__, "it is the caller's line"


def test_it_is_told_before_anybody_is_waited_for(link: str, tmp_path: Path) -> None:
    class ToldError(Exception):
        pass

    def stop(name: str, text: str) -> None:
        raise ToldError(name)

    def waits(members: int, expected: int) -> None:
        raise AssertionError("it waits")

    with pytest.raises(ToldError, match=r"^not_deterministic$"):
        rb.join(
            link,
            env="sample_envs:SeedsNothing",
            data=tmp_path,
            on_progress=waits,
            on_warning=stop,
        )


def test_nothing_is_told_of_what_is_well_or_asked_for(link: str, tmp_path: Path) -> None:
    lockstep = rb.Settings(prediction_window=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rb.join(link, env="sample_envs:TinyGrid", data=tmp_path).close()
        rb.join(link, env="sample_envs:HoldsAGenerator", data=tmp_path, settings=lockstep).close()


def test_the_command_says_it_first(
    link: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["play", link, "--env", "sample_envs:HoldsAGenerator", "--data", str(tmp_path)]
    main([*command, "--policy", "playable:stands_still", "--episodes", "1", "--json"])
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (first["event"], first["name"]) == ("warning", "lockstep")
    assert "cells[2].ticks" in first["message"]
