"""Every key of the configuration: what the planner does after a change is what is declared in ``config/dependence.py``.

The keys are those of the models; a new key without a declaration fails here, and so does one that no longer reaches
what is declared. Values to change to are made from the type of each key; those that the models or the planner refuse
are passed over, but one must be legal.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import h5py
import numpy as np
import pytest
import zarr
from network_checks import package
from pydantic import BaseModel

from bigseg.config.dependence import CONDITIONS, DEPENDENCE
from bigseg.config.models import Config
from bigseg.config.samples import Sample
from bigseg.errors import UserError
from bigseg.networks.model import load_model
from bigseg.planning import models as planned
from bigseg.planning.workflow import Workflow

SHAPE = (16, 16, 16)
ROLES = ("input", "segmentation", "truth", "mask", "nuclei", "semantic", "affinities")
NO_DATA = {"results": ["elsewhere/results"], "work": ["elsewhere/work"]}
NOT_WALKED = {
    "predict.model_settings": "only a pytorch-3dunet checkpoint takes it; its content is in the model's digest",
}
Settings = dict[str, Any]


# The configurations from which keys are changed: each key matters in one of them at least


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Two time points; every file in two places and with two datasets, so that path and key can change."""
    folder = tmp_path_factory.mktemp("data")
    values = np.random.default_rng(0).integers(0, 255, (2, 2, *SHAPE)).astype(np.uint8)
    for role in ROLES:
        volume = values if role in ("input", "affinities") else values[:, 0]
        with h5py.File(folder / f"{role}.h5", "w") as file:
            file["data"] = file["other"] = volume
        shutil.copy(folder / f"{role}.h5", folder / f"{role}-other.h5")
    group = zarr.create_group(str(folder / "input.zarr"), zarr_format=3)
    group.create_array("0", data=values, chunks=(1, 1, 8, 8, 8))
    axes = [
        {"name": name, "type": kind} for name, kind in zip("tczyx", ["time", "channel", *["space"] * 3], strict=True)
    ]
    scale = [{"type": "scale", "scale": [1.0, 1.0, 2.0, 1.0, 1.0]}]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    shutil.copytree(folder / "input.zarr", folder / "input-other.zarr")
    offsets = ((-1, 0, 0), (0, -1, 0))
    for name, seed, weight in (("model", 0, 0.0), ("model-other", 1, 0.0), ("told", 0, 20.0), ("told-other", 0, 30.0)):
        package(folder / name, seed, ("affinity", "affinity"), offsets=offsets, crest_weight=weight)
    return folder


def volume(data: Path, role: str) -> Settings:
    axes = "tczyx" if role in ("input", "affinities") else "tzyx"
    found: Settings = {"path": str(data / f"{role}.h5"), "key": "data", "axes": axes}
    return found | ({"offsets": [[-1, 0, 0], [0, 0, -1]]} if role == "affinities" else {})


def base(data: Path, method: str, partition: str, *roles: str) -> Settings:
    sample: Settings = {role: volume(data, role) for role in ("input", *roles)}
    if method == "referenced":
        sample["input"] = {"path": str(data / "input.zarr")}
    sample["input"]["voxel_size_um"] = [2.0, 1.0, 1.0]
    return {
        "samples": {"a": sample},
        "blocks": {"block_shape": [8, 8, 8]},
        "predict": {
            "method": "network" if method in ("network", "told") else "intensity",
            "model": str(data / ("told" if method == "told" else "model")),
            **({"normalise": "percentiles"} if method in ("network", "told") else {}),
            "invert": method == "nuclei",
        },
        "supervoxels": SUPERVOXELS.get(method, {}),
        "partition": {"method": partition},
        "pyramid": {"smallest": 8},
    }


BASES = {
    "gasp": ("intensity", "gasp", "truth", "mask"),
    "lifted multicut": ("intensity", "lifted_multicut", "truth", "nuclei", "semantic", "affinities"),
    "mutex watershed": ("intensity", "mutex_watershed", "affinities"),
    "network": ("network", "multicut"),
    "told": ("told", "gasp"),
    "referenced": ("referenced", "gasp"),
    "nuclei": ("nuclei", "gasp", "mask"),
    "given": ("intensity", "gasp", "segmentation", "truth"),
}

SUPERVOXELS: dict[str, Settings] = {
    "nuclei": {"foreground_threshold": "otsu", "foreground_window": 4},
    "network": {"crest": {"weight": 40.0}},
    "referenced": {"crest": {"weight": 40.0}},
}

TRACKING: dict[str, Settings] = {
    "lifted multicut": {"method": "volume"},
    "mutex watershed": {"method": "joint"},
    "referenced": {"drift": True},
}
"""What the movies of these configurations are tracked by, if not by default."""


def is_told(b: Settings) -> bool:
    return b["predict"]["method"] == "network" and b["predict"]["model"].endswith("told")


HOLDS = {
    "": lambda b: True,
    "intensity": lambda b: b["predict"]["method"] == "intensity",
    "network": lambda b: b["predict"]["method"] == "network",
    "percentiles": lambda b: True,  # the network's input is normalised by them here
    "channel": lambda b: True,  # `channels` is auto here
    "affinity outputs": lambda b: b["predict"]["method"] == "network",
    "referenced": lambda b: b["samples"]["a"]["input"]["path"].endswith(".zarr"),
    "gasp": lambda b: b["partition"]["method"] == "gasp",
    "multicuts": lambda b: b["partition"]["method"] in ("multicut", "lifted_multicut"),
    "lifted_multicut": lambda b: b["partition"]["method"] == "lifted_multicut",
    "maps": lambda b: "affinities" in b["samples"]["a"],
    "affinities": lambda b: b["partition"]["method"] in ("lifted_multicut", "mutex_watershed"),
    "truth": lambda b: "truth" in b["samples"]["a"],
    "masked": lambda b: "mask" in b["samples"]["a"],
    "anisotropic": lambda b: True,
    "scored movie": lambda b: "truth" in b["samples"]["a"],
    "movie": lambda b: True,
    "linked": lambda b: b["track"].get("method") != "volume",
    "joint": lambda b: b["track"].get("method") == "joint",
    "volume": lambda b: b["track"].get("method") == "volume",
    "drift": lambda b: b["track"].get("drift", False),
    "drift, referenced": lambda b: b["track"].get("drift", False),  # of these the image is referenced
    "drift, shallow pyramid": lambda b: False,
    "computed": lambda b: "segmentation" not in b["samples"]["a"],
    "foreground": lambda b: b["predict"]["invert"],
    "masked foreground": lambda b: "foreground_window" in b["supervoxels"] and "mask" in b["samples"]["a"],
    "thresholded": lambda b: "foreground_window" in b["supervoxels"],
    "told": lambda b: is_told(b),
    "crest": lambda b: "crest" in b["supervoxels"] or is_told(b),
    "crest, network": lambda b: HOLDS["network"](b) and HOLDS["crest"](b),
    "crest, referenced": lambda b: "crest" in b["supervoxels"] and HOLDS["referenced"](b),
}


# The keys, and other values for them


def leaves(model: type[BaseModel], where: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every key of a model and of the models inside it, as (path, type); an optional model is a key as well."""
    for name, field in model.model_fields.items():
        kind = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        if name == "samples":
            yield from leaves(Sample, ("samples", "a"))
            continue
        inner = next((part for part in parts(field.annotation) if is_model(part)), None)
        if inner is None or not is_model(field.annotation):
            yield (*where, name), kind
        if inner is not None:
            yield from leaves(inner, (*where, name))


def is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def parts(kind: Any) -> list[Any]:
    """The members of a union, without what is annotated to them."""
    origin = get_origin(kind)
    if origin is Annotated:
        return parts(get_args(kind)[0])
    if origin in (Union, UnionType):
        return [part for member in get_args(kind) for part in parts(member)]
    return [kind]


def others(kind: Any, now: Any) -> Iterator[Any]:
    """Values of a type other than ``now``, the nearest first; not all are legal."""
    for part in parts(kind):
        origin = get_origin(part)
        if part is NoneType:
            yield None
        elif origin is Literal:
            yield from get_args(part)
        elif part is bool:
            yield not now
        elif part is int:
            start = now if type(now) is int else 2
            yield from (start + 1, start - 1, 2 * start + 2, start // 2)
        elif part is float:
            start = float(now) if isinstance(now, int | float) else 1.0
            yield from (start * 0.75, start * 1.5, start + 0.125)
        elif origin is list:
            yield from other_lists(get_args(part)[0], now)


def other_lists(kind: Any, now: Any) -> Iterator[list[Any]]:
    if isinstance(now, list) and now:
        for place in range(len(now)):
            for value in itertools.islice(others(kind, now[place]), 3):
                yield [*now[:place], value, *now[place + 1 :]]
        yield now[:-1]
        return
    (part,) = parts(kind)[:1]
    if get_origin(part) is list:  # offsets
        yield from ([[-2, 0, 0], [0, -2, 0]], [[-1, 0, 0]])
    elif get_origin(part) is Literal:
        yield from (list(choice) for choice in itertools.product(get_args(part), repeat=2))
    else:
        yield from ([value] * count for value in (4, 8, 1, 0, 2.0) for count in (3, 2, 1))


def special(path: tuple[str, ...], now: Any) -> list[Any] | None:
    """Values for keys whose type does not tell what is legal: names of files and datasets, orders of axes."""
    if path[-1] in NO_DATA:
        return NO_DATA[path[-1]]
    if path[-1] == "truth_lineage":
        return [str(Path.cwd() / "lineage.txt")]
    if path[-1] == "path" or path == ("predict", "model"):
        there = Path(now)
        return [str(there.with_name(f"{there.stem}-other{there.suffix}"))]
    if path[-1] == "key":
        return ["other"]
    if path[-1] == "axes":
        return [] if now is None else [now.replace("yx", "xy")]
    return None


def value_at(settings: Settings, path: tuple[str, ...]) -> Any:
    found: Any = Config.model_validate(settings).model_dump()
    for key in path:
        if found is None:
            return None
        found = found[key]
    return found


def with_value(settings: Settings, path: tuple[str, ...], value: Any) -> Settings:
    first, *rest = path
    return {**settings, first: with_value(settings.get(first) or {}, tuple(rest), value) if rest else value}


def pattern(path: tuple[str, ...]) -> str:
    return ".".join(("samples", "<name>", *path[2:]) if path[0] == "samples" else path)


# The test


def plan(settings: Settings) -> dict[str, str]:
    """What each step's result depends on, as the rules tell Snakemake."""
    Path("work/a/results.json").unlink(missing_ok=True)  # it would refuse other `results`
    workflow = Workflow(settings, "test")
    return {name: workflow.parameters(name, "a") for name in workflow.steps("a")}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> None:
    """Intermediates lie in a folder of the test's own; models are described here, another process imports torch."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lineage.txt").write_text("1 0 0 0\n")
    monkeypatch.setattr(planned, "_describe", lambda spec: load_model(spec).description)


LEGAL = 6
"""Values tried per key and configuration; of choices all."""


def walk(settings: Settings) -> tuple[set[str], list[str]]:
    """The keys that were changed, and what came out otherwise than declared."""
    before = plan(settings)
    walked, wrong = set(), []
    for path, kind in leaves(Config):
        key = pattern(path)
        if key in NOT_WALKED or (path[0] == "samples" and path[2] in ROLES and path[2] not in settings["samples"]["a"]):
            continue
        now, given = value_at(settings, path), special(path, value_at(settings, path))
        reached: set[str] = set()
        legal = 0
        for value in others(kind, now) if given is None else given:
            if value == now or legal >= LEGAL:
                continue
            try:
                after = plan(with_value(settings, path, value))
            except UserError:
                continue
            legal += 1
            steps = {step for step in before.keys() | after.keys() if before.get(step) != after.get(step)}
            if ("report.page" in steps) == (path[0] in ("execution", "results", "work")):
                wrong.append(f"{key}: {value!r} instead of {now!r}: the report is no longer right, or written in vain")
            reached |= {step.split(".")[0] for step in steps} - {"report"}
        if legal:
            walked.add(key)
            declared = {use.stage for use in DEPENDENCE[key] if HOLDS[use.where](settings)}
            if "segmentation" in settings["samples"]["a"] and key != "samples.<name>.segmentation":
                declared -= {"predict", "supervoxels", "graph", "partition"}  # these do not run
            if reached != declared:
                wrong.append(f"{key}: other values than {now!r} reach {sorted(reached)}, declared {sorted(declared)}")
    return walked, wrong


def test_each_key_reaches_exactly_what_is_declared(data):
    keys = {pattern(path) for path, _ in leaves(Config)}
    assert keys == set(DEPENDENCE), "keys of the models and keys that are declared"
    walked: set[str] = set()
    wrong = {}
    for name, (method, partition, *roles) in BASES.items():
        settings = base(data, method, partition, *roles) | {"track": TRACKING.get(name, {})}
        changed, wrong[name] = walk(settings)
        walked |= changed
    assert not any(wrong.values()), wrong
    assert walked | set(NOT_WALKED) == keys, "keys for which no configuration above has another legal value"


def test_a_model_that_was_moved_reaches_only_the_report(data):
    settings = base(data, *BASES["network"])
    before = plan(settings)
    shutil.copytree(data / "model", "moved")
    after = plan(with_value(settings, ("predict", "model"), "moved"))
    assert {step for step in before if before[step] != after[step]} == {"report.page", "report.provenance"}
    told = Workflow(with_value(settings, ("predict", "model"), "moved"), "test").places("predict.blocks", "a")
    assert json.loads(told) == {"model": {"path": "moved", "settings": None}}


def test_conditions_are_explained_and_known_here():
    used = {use.where for uses in DEPENDENCE.values() for use in uses}
    assert used <= set(CONDITIONS) == set(HOLDS)
    stages = {name for name, field in Config.model_fields.items() if is_model(field.annotation)}
    assert {use.stage for uses in DEPENDENCE.values() for use in uses} <= stages
