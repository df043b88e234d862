"""Writing small files, and folders, so that they are there whole or not at all."""

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
    with _beside(path) as temporary:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield the path of a folder to be made beside ``path``; on success it takes the place of ``path``.

    Raises:
        UserError: as :func:`replacing`.
    """
    with _beside(path) as temporary:
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, in a folder that is there; nothing is left of it in the end."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error})",
            "free space there, or choose folders that you may write to with `results:` and `work:`",
        ) from error
    finally:
        with suppress(OSError):
            if temporary.is_dir():
                shutil.rmtree(temporary)
            else:
                temporary.unlink()


def copy_file(source: Path, target: Path) -> None:
    """Make ``target`` a copy of ``source``, whole or not at all.

    Raises:
        UserError: as :func:`replacing`.
    """
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def link_file(source: Path, target: Path) -> None:
    """Make ``target`` another name of ``source``, or a copy where the file system has no links.

    Saves a wait for the disk. Only for files that are durable and that nobody changes in place.

    Raises:
        UserError: as :func:`replacing`.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, temporary)
        temporary.replace(target)
    except OSError:  # no links here, or too many of one file; anything else the copy runs into as well, and tells
        copy_file(source, target)
    finally:
        with suppress(OSError):  # two names of one file: it is left where the target had been linked to it before
            temporary.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON with sorted keys; the bytes depend on the value alone.

    Raises:
        UserError: as :func:`replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
