"""Writing small files so that they are there whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bigseg.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is made durable and takes the place of ``path``.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error})",
            "free space there, or choose folders that you may write to with `results:` and `work:`",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def link_file(source: Path, target: Path) -> None:
    """Make ``target`` another name of ``source``, which is durable and is never changed in place; a copy if need be.

    Raises:
        UserError: as :func:`replacing`.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        os.link(source, temporary)
        temporary.replace(target)
    except OSError:  # no links on this file system, or too many of one file
        with suppress(OSError):
            temporary.unlink()
        with replacing(target) as copy:
            shutil.copyfile(source, copy)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON with sorted keys; the bytes depend on the value alone.

    Raises:
        UserError: as :func:`replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
