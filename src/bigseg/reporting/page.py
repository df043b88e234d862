"""The report of a sample: one HTML page that needs no other file, and pictures beside it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bigseg.layout import LINEAGES, Layout
from bigseg.reporting import facts
from bigseg.reporting.figures import overview_png, panel_png, sizes_png
from bigseg.reporting.multicut import read_multicuts
from bigseg.reporting.pictures import Pictures, Shown
from bigseg.reporting.planes import PlaneReader
from bigseg.reporting.seam_words import verdict
from bigseg.reporting.seams import read_seams, seams_png
from bigseg.reporting.timings import StageTime, Timings
from bigseg.reporting.tracks.section import Section, TrackPictures
from bigseg.resume.files import replacing

if TYPE_CHECKING:
    from bigseg.stages.step import Parameters

PAGE, OVERVIEW, SIZES = "report.html", "overview.png", "sizes.png"
_CUTS_SHOWN = 10


def write_report(layout: Layout, parameters: Parameters) -> None:
    """Write the page and its pictures into the sample's result folder.

    Args:
        layout: folders of the sample, whose stages are all done.
        parameters: those of step ``report.page``.

    Raises:
        UserError: a result is missing or damaged, or the folder cannot be written.
    """
    reader = PlaneReader(layout, parameters)
    pixel_um = reader.canvas.pixel_um
    objects = facts.Objects(layout, parameters)
    tracking = TrackPictures(layout, parameters) if parameters["tracked"] else None
    also = {} if tracking is None else {"also": tracking.shown, "apart": tracking.apart}
    pictures = Pictures(reader, parameters["times"], parameters["settings"]["report"]["planes"], **also)
    tracks = None if tracking is None else tracking.draw(reader.volumes, pictures.palette, objects.unit)
    headline = _headline(parameters, objects)
    overview = overview_png(_title(layout.sample, headline), pictures.overview(), pixel_um)
    sizes = sizes_png(objects.sizes, objects.at_edge, objects.unit)
    timings = Timings(layout, parameters)
    given = parameters["sample"].get("segmentation") is not None
    content = {
        "sample": layout.sample,
        "written": datetime.now().astimezone().strftime("%d %B %Y, %H:%M"),
        "headline": headline,
        "overview": _embedded(overview),
        "orthogonal": len(pictures.cuts) > 1,
        "times": _times(pictures, parameters, pixel_um),
        "skipped": parameters.get("skipped", {}),
        "all_times": len(parameters["times"]),
        "times_shown": len(pictures.times),
        "sizes": _embedded(sizes),
        "summary": objects.summary(),
        "scores": facts.read_scores(layout) if parameters["scored"] else [],
        "tracks": None if tracks is None else _tracks(tracks),
        "seams": _seams(layout) if parameters["seams"] else None,
        "multicuts": read_multicuts(layout, parameters["times"]) if parameters["multicut"] else [],
        "counts": [] if given else [(counts, objects.at(counts.time)) for counts in timings.counts()],
        "stages": [(stage, facts.stage_meaning(stage.stage)) for stage in timings.stages()],
        "total": _total(timings.stages()),
        "settings": facts.settings_yaml(layout.sample, parameters),
        "versions": facts.versions(),
        "files": facts.files(layout, parameters),
    }
    _write(layout.result_folder / OVERVIEW, overview)
    _write(layout.result_folder / SIZES, sizes)
    if tracks is not None:
        _write(layout.result_folder / LINEAGES, tracks.lineages)
    _write(layout.result_folder / PAGE, _render(content).encode())


def _headline(parameters: Parameters, objects: facts.Objects) -> dict[str, str]:
    """What identifies the data set; the only plane of a 2D image needs no z."""
    flat = parameters["shape"][0] == 1
    shape, voxel_size = (parameters[key][int(flat) :] for key in ("shape", "voxel_size_um"))
    axes, unit = ("y, x", "pixel") if flat else ("z, y, x", "voxel")
    return {
        "objects": f"{objects.number:,}",
        f"shape ({axes})": " × ".join(f"{n:,}" for n in shape) + f" {unit}s",
        f"{unit} size ({axes})": " × ".join(f"{s:.4g}" for s in voxel_size) + " µm",
        **({"time points": f"{len(parameters['times']):,}"} if len(parameters["times"]) > 1 else {}),
    }


def _title(sample: str, headline: dict[str, str]) -> str:
    """The headline on one line, for pictures that are seen without the page."""
    objects, *rest = headline.values()
    shape, voxel_size, *times = rest
    counted = [f"{objects} object{'' if objects == '1' else 's'}", *(f"{count} time points" for count in times)]
    return f"{sample}: {', '.join(counted)}; {shape} of {voxel_size}"


def _times(pictures: Pictures, parameters: Parameters, pixel_um: float) -> Iterator[dict[str, Any]]:
    """The shown time points with their planes, drawn one after the other as the page is written."""
    for time, shown in groupby(pictures.draw(), key=lambda plane: plane.time):
        yield {"time": time, "planes": [_plane(plane, parameters, pixel_um) for plane in shown]}


def _plane(shown: Shown, parameters: Parameters, pixel_um: float) -> dict[str, Any]:
    where = f"{shown.cut.name} plane"
    if parameters["shape"][shown.cut.axis] > 1:
        where += f" at {shown.cut.describe(parameters['voxel_size_um'])}"
    panels = [
        {"heading": heading, "image": _embedded(panel_png(picture, pixel_um, bar=number == 0))}
        for number, (heading, picture) in enumerate(shown.panels.items())
    ]
    return {"where": where, "panels": panels}


def _tracks(found: Section) -> dict[str, Any]:
    """The pictures of the tracks, and what is said of them."""
    return {
        "lineages": _embedded(found.lineages),
        "history": _embedded(found.history),
        "strips": None if found.strips is None else _embedded(found.strips),
        "animation": None if found.animation is None else _embedded(found.animation, "webp"),
        "animated": found.animated,
        "summary": found.summary,
        "drawn": found.drawn,
        "scores": found.scores,
    }


def _seams(layout: Layout) -> dict[str, Any]:
    """The picture of the block faces, what it says, and where to look."""
    found = read_seams(layout)
    return {
        "picture": _embedded(seams_png(found)),
        "verdict": verdict(found),
        "distance": found["distance"],
        "cuts": found["worst_cuts"][:_CUTS_SHOWN],
        "number": found["cuts"],
        "errors": found["errors"] is not None,
    }


def _total(stages: list[StageTime]) -> StageTime | None:
    """All stages together; None where no ledger is left."""
    if not stages:
        return None
    return StageTime("all", sum(s.pieces for s in stages), sum(s.seconds for s in stages), stages[0].voxels)


def _render(content: dict[str, Any]) -> str:
    environment = Environment(
        loader=PackageLoader("bigseg.reporting", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    return environment.get_template("page.html.jinja").render(content)


def duration(seconds: float) -> str:
    """A time that people can read: ``0.8 s``, ``12 min 5 s``, ``3 h 20 min``."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def _embedded(picture: bytes, kind: Literal["png", "webp"] = "png") -> Markup:
    """A picture as the source of an ``img``."""
    encoded = base64.b64encode(picture).decode()
    return Markup(f"data:image/{kind};base64,{encoded}")  # noqa: S704 (letters of base64 only)


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)
