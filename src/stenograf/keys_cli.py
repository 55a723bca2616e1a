"""`stenograf keys create | list | revoke`: API keys, made in the backend's database itself.

Needs the backend's settings and its data folder, not a running backend; a running one follows
within seconds. In the containers: `docker compose run --rm backend python -m stenograf.keys_cli`.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

from stenograf.contract.errors import StenografError
from stenograf.settings import BackendSettings
from stenograf.startup import configured, refuse_unusable
from stenograf.terminal import safe

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from stenograf.backend.apikeys import ApiKeyStore


def register(commands: "_SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `create`, `list` and `revoke`; each sets `command`, which gives the exit code."""
    parser = commands.add_parser("create", help="make a key and print it, this once")
    parser.add_argument("label", metavar="LABEL", help="whose key it is, or what it is for")
    parser.set_defaults(command=_create)
    parser = commands.add_parser("list", help="every key's id, label and times, never the key")
    parser.set_defaults(command=_list)
    parser = commands.add_parser("revoke", help="make a key worthless, for good")
    parser.add_argument("id", metavar="ID", help="the eight digits after sg_")
    parser.set_defaults(command=_revoke)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """`python -m stenograf.keys_cli`: exit code 0, 1 if it failed, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="stenograf keys", description=__doc__)
    register(parser.add_subparsers(required=True, metavar="COMMAND"))
    parsed = parser.parse_args(arguments)
    try:
        code: int = parsed.command(parsed)
    except StenografError as error:
        sys.exit(f"stenograf: {error.message} {error.hint or ''}".rstrip())
    sys.exit(code)


@contextmanager
def _store() -> Iterator["ApiKeyStore"]:
    # the database's libraries take longer to load than other commands take
    from stenograf.backend.apikeys import ApiKeyStore
    from stenograf.backend.db import Database

    settings = configured(BackendSettings)
    refuse_unusable(settings.data_dir)
    database = Database(settings.database)
    try:
        database.migrate(settings.data_dir / "migrate.lock")
        yield ApiKeyStore(database)
    finally:
        database.close()


def _create(parsed: argparse.Namespace) -> int:
    with _store() as store:
        text, _ = store.create(parsed.label)
    _print(text)
    hint = "Keep it now: it is not shown again. From now on every request needs a key."
    sys.stderr.write(f"{hint}\n")
    return 0


def _list(_: argparse.Namespace) -> int:
    with _store() as store:
        keys = store.list()
    for key in keys:
        facts = [f"made {_when(key.created_at)}"]
        facts.append(f"used {_when(key.last_used_at)}" if key.last_used_at else "never used")
        if key.revoked_at:
            facts.append(f"revoked {_when(key.revoked_at)}")
        _print(f"{key.id}  {', '.join(facts)}  {safe(key.label)}")
    return 0


def _revoke(parsed: argparse.Namespace) -> int:
    key_id = parsed.id.removeprefix("sg_").partition("_")[0]
    with _store() as store:
        key = store.revoke(key_id)
    _print(f"{key.id} is worthless now  {safe(key.label)}")
    return 0


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
