"""``provenance.json`` beside a result: what it was made from, with what, and when what of it was made.

The file tells everything that a rerun needs (``bigseg init --from``) and what it has to come out as. It holds times and
versions of the machine, so the digest that its marker keeps is that of the rest alone.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigseg import __version__
from bigseg.config.samples import ROLES, Affinities, Input
from bigseg.errors import UserError
from bigseg.layout import Layout, time_name
from bigseg.resume.digest import digest_json
from bigseg.resume.files import write_json
from bigseg.resume.marker import Marker, markers_of
from bigseg.volumes.signature import files_signature, source_files

if TYPE_CHECKING:
    from bigseg.stages.step import Parameters

FORMAT = 1
"""Of the file: to be raised when what reads it would have to read it otherwise."""
_CHECKOUT = Path(__file__).parents[3]
_FILES_LISTED = 20


def write_provenance(layout: Layout, parameters: Parameters) -> str:
    """Write the file; what was made before with other versions stays in its history.

    Args:
        layout: where everything lies.
        parameters: those of step ``report.provenance``.

    Returns:
        Digest of all that does not depend on machine and time.

    Raises:
        UserError: a marker is missing or damaged.
    """
    times = {"all", *map(time_name, parameters["times"])}
    steps = {name: _step(layout, name, times) for name in parameters["steps"]}
    run = parameters["run"]
    config = {
        "samples": {layout.sample: parameters["sample"]},
        "results": run["results"],
        "work": run["work"],
        **parameters["settings"],
        "execution": run["execution"],
    }
    now = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "environment": environment()}
    content = {
        "format": FORMAT,
        "sample": layout.sample,
        "folder": str(Path.cwd()),
        "config": config,
        "inputs": dict(_inputs(parameters["sample"])),
        "model": parameters["model"],
        "steps": steps,
        **now,
        "history": _history(layout, steps, now),
    }
    write_json(layout.provenance, content)
    return digest_provenance(content)


def digest_provenance(content: dict[str, Any]) -> str:
    """Fingerprint of all in the file that does not depend on machine and time.

    Raises:
        KeyError: something is missing.
    """
    science = {key: value for key, value in content["config"].items() if key not in ("results", "work", "execution")}
    return digest_json([science, content["model"], content["steps"]])


def _step(layout: Layout, name: str, times: set[str]) -> dict[str, Any]:
    """Version and parameters of a step, and a digest of its results for each of the times (``all``: all)."""
    stage, _, step = name.partition(".")
    digests: dict[str, str] = {}
    versions, fingerprints = set(), set()
    for folder in (layout.status(stage) / time for time in sorted(times)):
        put_away = layout.cleaned / folder.relative_to(layout.folder)
        paths = _markers(folder, step) or _markers(put_away, step)
        found: dict[int, str] = {}
        for marker in map(Marker.read, paths):
            found.update(marker.digests)
            versions.add(marker.version)
            fingerprints.add(marker.fingerprint)
        if found:
            digests[folder.name] = digest_json([found[piece] for piece in sorted(found)])
    if not digests:
        raise UserError(f"no marker tells of {name}", "run the stages in order: use snakemake")
    return {"version": max(versions), "parameters": sorted(fingerprints), "digests": digests}


def _markers(folder: Path, step: str) -> list[Path]:
    """All markers of a step in a folder."""
    return [*markers_of(folder, step).values(), *folder.glob(f"{step}.json")]


def _inputs(sample: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The files of each role: their names and a signature of names, sizes and times of change."""
    for role in ROLES:
        if sample[role] is None:
            continue
        spec = (Affinities if role == "affinities" else Input).model_validate(sample[role])
        yield role, _files(source_files(spec))
    if (lineage := sample.get("truth_lineage")) is not None:
        yield "truth_lineage", _files([Path(lineage)])


def _files(files: list[Path]) -> dict[str, Any]:
    return {
        "files": [str(path) for path in files[:_FILES_LISTED]],
        "number_of_files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "signature": files_signature(files),
    }


def _history(layout: Layout, steps: dict[str, Any], now: dict[str, Any]) -> list[dict[str, Any]]:
    """Entries for every time that results changed: when, with which versions, and which steps came out otherwise.

    It is kept among the intermediates, because Snakemake removes a result before it is written again.
    """
    path = layout.folder / "history.json"
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        known, entries = dict(before["steps"]), list(before["entries"])
    except (OSError, ValueError, KeyError, TypeError):
        known, entries = {}, []
    changed = [name for name in steps if known.get(name) != steps[name]]
    if changed:
        entries.append({**now, "steps": changed})
        write_json(path, {"steps": steps, "entries": entries})
    return entries


def environment() -> dict[str, Any]:
    """Versions of everything that takes part."""
    return {
        "bigseg": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": dict(_packages()),
        "git": _git(),
    }


def _packages() -> Iterator[tuple[str, str]]:
    """Names and versions of the packages that bigseg requires."""
    for line in metadata.requires("bigseg") or ():
        requirement, _, marker = line.partition(";")
        if "extra" in marker:
            continue
        name = requirement.strip()
        for end, character in enumerate(name):
            if not (character.isalnum() or character in "-_."):
                name = name[:end]
                break
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def _git() -> dict[str, Any] | None:
    """Commit of the checkout that bigseg runs from, and whether files were changed since; None where there is none."""
    git = shutil.which("git")
    if git is None or not (_CHECKOUT / ".git").exists():
        return None
    answers = []
    for question in (["rev-parse", "HEAD"], ["status", "--porcelain"]):
        command = [git, "-C", str(_CHECKOUT), *question]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            return None
        answers.append(done.stdout)
    return {"commit": answers[0].strip(), "modified": bool(answers[1].strip())}
