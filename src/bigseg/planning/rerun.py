"""The configuration that made a result, from the ``provenance.json`` beside it."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from bigseg.config import validate_config
from bigseg.config.documents import default_yaml
from bigseg.config.samples import ROLES, Sample
from bigseg.errors import UserError
from bigseg.networks.shipped import find_shipped
from bigseg.planning.initial import refuse_existing, write_snakefile
from bigseg.reporting.provenance import FORMAT, environment
from bigseg.resume.files import replacing
from bigseg.volumes.signature import source_files


def write_config_of(folder: Path, provenance: Path, *, force: bool) -> list[str]:
    """Write the ``config.yaml`` of a result into a new folder, ready for ``snakemake``; the result is made anew there.

    Args:
        folder: folder to write to, made if needed.
        provenance: the file beside the result.
        force: whether an existing configuration is replaced.

    Returns:
        What was done, and what is no longer as it was, line by line.

    Raises:
        UserError: the file cannot be used, data are gone, or the folder has a configuration already.
    """
    target = refuse_existing(folder, force=force)
    told = _read(provenance)
    name, before = told["sample"], Path(told["folder"])
    settings = {key: value for key, value in told["config"].items() if key not in ("results", "work")}
    settings["samples"] = {name: _with_absolute_paths(settings["samples"][name], before)}
    for key in ("model", "model_settings"):
        value = settings["predict"].get(key)
        if value is not None and find_shipped(value) is None and (before / value).exists():
            settings["predict"][key] = os.path.abspath(before / value)
    config = validate_config(settings, str(provenance))
    sample = config.samples[name]
    lines = [f"{provenance}: {name}, made {told['at']}", *_changed_files(sample, told), *_other_versions(told)]
    sections = {key: value for key, value in settings.items() if key != "samples"}
    text = default_yaml({name: sample.model_dump(exclude_none=True)}, **sections)
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_snakefile(folder)
    return [
        *lines,
        f"wrote {target}",
        f"next: cd {shlex.quote(str(folder))} && snakemake --cores all",
        f"then compare the digests of `steps` in results/{name}/provenance.json there and in {provenance}: "
        "only those of pyramid.metadata, which name the path of the input, may differ",
    ]


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["format"] != FORMAT:
            raise ValueError(f"its format is {told['format']}, this version of bigseg knows {FORMAT}")
        for key, kind in (("sample", str), ("folder", str), ("config", dict), ("inputs", dict), ("at", str)):
            if not isinstance(told[key], kind):
                raise TypeError(f"{key} is {told[key]!r}")
        if told["sample"] not in told["config"]["samples"]:
            raise ValueError(f"it tells nothing of sample {told['sample']!r}")
        datetime.fromisoformat(told["at"])
        return dict(told)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror})", "name the provenance.json in the folder results/<sample>"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: is no provenance of a result ({error})", "name the provenance.json in the folder results/<sample>"
        ) from error


def _with_absolute_paths(sample: Mapping[str, Any], before: Path) -> dict[str, Any]:
    """The sample with the paths that were written relative to the folder of the first run."""
    found = dict(sample)
    for role in ROLES:
        if found.get(role) is not None:
            path = os.path.abspath(before / Path(found[role]["path"]).expanduser())
            found[role] = {**found[role], "path": path}
    if found.get("truth_lineage") is not None:
        found["truth_lineage"] = os.path.abspath(before / Path(found["truth_lineage"]).expanduser())
    return found


def _changed_files(sample: Sample, told: Mapping[str, Any]) -> Iterator[str]:
    """A line for each input whose files are no longer what they were."""
    made = datetime.fromisoformat(told["at"]).timestamp()
    specs = {role: getattr(sample, role) for role in ROLES}
    listed = [(role, spec.path, source_files(spec)) for role, spec in specs.items() if spec is not None]
    if sample.truth_lineage is not None:
        listed.append(("truth_lineage", sample.truth_lineage, [Path(sample.truth_lineage)]))
    for role, path, files in listed:
        known = told["inputs"].get(role, {})
        other = (len(files), sum(file.stat().st_size for file in files)) != (
            known.get("number_of_files"),
            known.get("bytes"),
        )
        if other or any(file.stat().st_mtime > made for file in files):
            yield f"  changed since: {role}, {path}; the result will not be the same"


def _other_versions(told: Mapping[str, Any]) -> Iterator[str]:
    """A line for each package of another version, and for another commit."""
    before, now = told.get("environment") or {}, environment()
    for name, version in {**(before.get("packages") or {}), "bigseg": before.get("bigseg")}.items():
        here = now["packages"].get(name) if name != "bigseg" else now["bigseg"]
        if here != version:
            yield f"  {name} was {version}, here it is {here}"
    commits = [(found.get("git") or {}).get("commit") for found in (before, now)]
    if commits[0] != commits[1]:
        yield f"  the checkout was at commit {commits[0]}, it is at {commits[1]}"
    if (before.get("git") or {}).get("modified"):
        yield "  the checkout had files that were changed and not committed"
