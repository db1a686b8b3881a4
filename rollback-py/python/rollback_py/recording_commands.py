"""The commands about recordings: ``rollback compare``, ``verify`` and ``export``.

What goes wrong is raised, and told by the program that all commands share.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rollback_py.command_output import DIFFERENT, OK, PREFIX, WRONG, Parser, say
from rollback_py.desync_dump import DesyncDump, is_dump
from rollback_py.recordings import Recording

_COMPARED = {"EQUAL": OK, "PREFIX": PREFIX, "DIFFERENT": DIFFERENT}


def add_parsers(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the commands; each sets `handler`, which takes the arguments and returns an exit code."""
    summary = "say how far two recordings, or the dumps of two sides of a desync, are equal"
    parser = _add(subparsers, "compare", summary, _compare)
    parser.add_argument("one", type=Path, metavar="A.rbk")
    parser.add_argument("other", type=Path, metavar="B.rbk")

    parser = _add(subparsers, "verify", "simulate a recording again and compare", _verify)
    parser.add_argument("recording", type=Path, metavar="A.rbk")
    parser.add_argument("--env", required=True, metavar="MODULE:CALLABLE")

    parser = _add(subparsers, "export", "write a recording as a Parquet file", _export)
    parser.add_argument("recording", type=Path, metavar="A.rbk")
    parser.add_argument(
        "table", type=Path, nargs="?", metavar="A.parquet", help="default: beside the recording"
    )
    parser.add_argument(
        "--env", metavar="MODULE:CALLABLE", help="needed for actions of spaces other than Discrete"
    )
    parser.add_argument(
        "--no-decode", action="store_true", help="write the actions as their bytes only"
    )


def _add(
    subparsers: argparse._SubParsersAction[Parser],
    name: str,
    summary: str,
    command: Callable[[argparse.Namespace], int],
) -> Parser:
    parser = subparsers.add_parser(name, help=summary, description=summary)
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.set_defaults(handler=command)
    return parser


def _compare(arguments: argparse.Namespace) -> int:
    if is_dump(arguments.one) and is_dump(arguments.other):
        sides = DesyncDump.open(arguments.one).compare(DesyncDump.open(arguments.other))
        say(arguments.json, sides.to_json(), str(sides))
        return OK if sides else DIFFERENT
    found = Recording.open(arguments.one).compare(Recording.open(arguments.other))
    say(arguments.json, asdict(found), str(found))
    return _COMPARED[found.verdict]


def _verify(arguments: argparse.Namespace) -> int:
    found = Recording.open(arguments.recording).verify(arguments.env)
    text = "\n".join([str(found), *(f"  warning: {warning}" for warning in found.warnings)])
    fields = {"verdict": "VERIFIED" if found else "WRONG"} | asdict(found)
    say(arguments.json, fields, text)
    return OK if found else WRONG


def _export(arguments: argparse.Namespace) -> int:
    table = arguments.table or arguments.recording.with_suffix(".parquet")
    recording = Recording.open(arguments.recording)
    found = recording.export(table, arguments.env, decode_actions=not arguments.no_decode)
    fields = asdict(found) | {"path": str(found.path), "manifest": str(found.manifest)}
    say(arguments.json, fields, f"{found.path}: {found.rows} rows, {found.digest}")
    return OK
