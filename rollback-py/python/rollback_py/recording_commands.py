"""The commands about recordings: ``rollback compare``, ``verify`` and ``export``.

Exit codes: `compare` 0 EQUAL, 3 PREFIX, 4 DIFFERENT; `verify` 0 VERIFIED, 1 WRONG; `export` 0; an
error is 2 for each of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rollback_py._rollback import RollbackError
from rollback_py.recordings import Recording

_ERROR = 2
_COMPARED = {"EQUAL": 0, "PREFIX": 3, "DIFFERENT": 4}


def add_parsers(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands; each sets `handler`, which takes the arguments and returns an exit code."""
    parser = _add(subparsers, "compare", "say how far two recordings are equal", _compare)
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
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    command: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    def handler(arguments: argparse.Namespace) -> int:
        try:
            return command(arguments)
        except (RollbackError, OSError) as error:
            print(f"rollback {name}: {error}", file=sys.stderr)
        except Exception:  # of the user's environment: not to be taken for WRONG, which is 1
            traceback.print_exc()
        return _ERROR

    parser = subparsers.add_parser(name, help=summary, description=summary)
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.set_defaults(handler=handler)
    return parser


def _compare(arguments: argparse.Namespace) -> int:
    found = Recording.open(arguments.one).compare(Recording.open(arguments.other))
    _print(arguments, str(found), asdict(found))
    return _COMPARED[found.verdict]


def _verify(arguments: argparse.Namespace) -> int:
    found = Recording.open(arguments.recording).verify(arguments.env)
    text = "\n".join([str(found), *(f"  warning: {warning}" for warning in found.warnings)])
    _print(arguments, text, {"verdict": "VERIFIED" if found else "WRONG"} | asdict(found))
    return 0 if found else 1


def _export(arguments: argparse.Namespace) -> int:
    table = arguments.table or arguments.recording.with_suffix(".parquet")
    recording = Recording.open(arguments.recording)
    found = recording.export(table, arguments.env, decode_actions=not arguments.no_decode)
    fields = asdict(found) | {"path": str(found.path), "manifest": str(found.manifest)}
    _print(arguments, f"{found.path}: {found.rows} rows, {found.digest}", fields)
    return 0


def _print(arguments: argparse.Namespace, text: str, fields: dict[str, Any]) -> None:
    print(json.dumps(fields, sort_keys=True) if arguments.json else text)
