"""OME-Zarr 0.5 metadata of the result, written by hand: a few JSON attributes that need no library to open."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from bigseg.config.samples import Input
from bigseg.layout import Layout
from bigseg.resume.files import write_json
from bigseg.volumes.reference import link_array
from bigseg.volumes.source import open_source

NGFF_VERSION = "0.5"
_KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}


def write_result_metadata(layout: Layout, parameters: dict[str, Any]) -> None:
    """Make the result a valid OME-Zarr: multiscales of image and labels, the list of labels, links to the image.

    Args:
        layout: folders of the sample.
        parameters: of the step ``pyramid.metadata``: levels (shape, scale), voxel_size_um, axes, channels, name, owner,
            copy and, if not copied, input.
    """
    if not parameters["copy"]:
        spec = Input.model_validate(parameters["input"])
        with open_source(spec) as source:
            header = source.header
        if header.ome_zarr is None:
            raise ValueError("only an OME-Zarr can be referenced")
        link_array(header.ome_zarr, layout.image())
    _drop_other_levels(layout, len(parameters["levels"]))
    for path, content in result_metadata(layout, parameters).items():
        write_json(path, content)


def result_metadata(layout: Layout, parameters: dict[str, Any]) -> dict[Path, dict[str, Any]]:
    """Content of the metadata files of the groups, that of the result last; arguments as of the function that writes.

    They depend on the parameters alone.
    """
    labels = [layout.labels().parent, *([layout.tracks().parent] if parameters.get("tracks") else [])]
    image = {
        "version": NGFF_VERSION,
        "multiscales": [_multiscale(parameters["name"], parameters["axes"], parameters)],
    }
    return {
        **{folder / "zarr.json": _group({"ome": _label_image(folder.name, parameters)}) for folder in labels},
        labels[0].parent / "zarr.json": _group(
            {"ome": {"version": NGFF_VERSION, "labels": [folder.name for folder in labels]}}
        ),
        layout.result / "zarr.json": _group({"bigseg": parameters["owner"], "ome": image}),
    }


def _label_image(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": NGFF_VERSION,
        "multiscales": [_multiscale(name, "tzyx", parameters)],
        "image-label": {"version": NGFF_VERSION, "source": {"image": "../../"}},
    }


def _multiscale(name: str, axes: str, parameters: dict[str, Any]) -> dict[str, Any]:
    spacing = dict(zip("zyx", parameters["voxel_size_um"], strict=True))
    datasets = []
    for number, level in enumerate(parameters["levels"]):
        scale = dict(zip("zyx", level["scale"], strict=True))
        # Pooling a cell of f voxels moves the centre of the voxel by (f - 1) / 2 voxels.
        datasets.append(
            {
                "path": str(number),
                "coordinateTransformations": [
                    {"type": "scale", "scale": [float(spacing.get(a, 1.0) * scale.get(a, 1)) for a in axes]},
                    {
                        "type": "translation",
                        "translation": [float(spacing.get(a, 1.0) * (scale.get(a, 1) - 1) / 2) for a in axes],
                    },
                ],
            }
        )
    return {"name": name, "axes": [_axis(a) for a in axes], "datasets": datasets}


def _axis(axis: str) -> dict[str, str]:
    described = {"name": axis, "type": _KINDS[axis]}
    return {**described, "unit": "micrometer"} if _KINDS[axis] == "space" else described


def _group(attributes: dict[str, Any]) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def _drop_other_levels(layout: Layout, count: int) -> None:
    """Remove levels of an earlier, deeper pyramid: viewers and validators would take them for part of this one."""
    for folder in (layout.result, layout.labels().parent, layout.tracks().parent):
        for entry in folder.iterdir() if folder.exists() else ():
            if entry.name.isdigit() and int(entry.name) >= count:
                for marker in layout.status("pyramid").glob(f"*/*{entry.name}-*.json"):
                    if marker.name.startswith((f"image{entry.name}-", f"labels{entry.name}-", f"tracks{entry.name}-")):
                        marker.unlink(missing_ok=True)  # of an earlier configuration: this one has no such level
                shutil.rmtree(entry)
