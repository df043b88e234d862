"""The page and the pictures beside it."""

from __future__ import annotations

import base64
import io
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib import image
from PIL import Image, ImageSequence
from reporting_sample import Sample, cells, finished_sample

from bigseg.config import validate_config
from bigseg.errors import UserError
from bigseg.reporting import figures
from bigseg.resume.files import write_json
from bigseg.resume.ledger import Record
from bigseg.stages.report import ReportPage

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Checks that tags are balanced and gathers what a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        """All that is shown, with single spaces."""
        return " ".join(" ".join(self.words).split())

    @property
    def pictures(self) -> dict[str, np.ndarray]:
        """The embedded pictures (rows, columns, 4) by their description."""
        found = {}
        for tag, attributes in self.tags:
            if tag == "img":
                kind, _, data = (attributes["src"] or "").partition(",")
                if kind != "data:image/webp;base64":
                    assert kind == "data:image/png;base64"
                    found[str(attributes["alt"])] = image.imread(io.BytesIO(base64.b64decode(data)))
        return found

    @property
    def animations(self) -> dict[str, list[np.ndarray]]:
        """The frames (rows, columns, 3) uint8 of the embedded moving pictures by their description."""
        found = {}
        for tag, attributes in self.tags:
            kind, _, data = (attributes.get("src") or "").partition(",")
            if tag == "img" and kind == "data:image/webp;base64":
                moving = Image.open(io.BytesIO(base64.b64decode(data)))
                frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(moving)]
                found[str(attributes["alt"])] = frames
        return found


def write(sample: Sample) -> Page:
    """Run the step."""
    sample.step().process(0)
    return Page(sample.page())


@pytest.fixture(scope="module")
def anisotropic(tmp_path_factory) -> tuple[Sample, Page]:
    """A scored 3D sample with a ledger."""
    sample = finished_sample(tmp_path_factory.mktemp("cells"), cells((1, 8, 48, 64)), (2.0, 0.5, 0.5), scored=True)
    sample.record("supervoxels", 0, "blocks-000000-000000", Record(0, "k", "d", 12.5, {"supervoxels": 1234}))
    return sample, write(sample)


class TestAnisotropicVolume:
    def test_facts(self, anisotropic):
        text = anisotropic[1].text
        assert "8 × 48 × 64 voxels" in text
        assert "2 × 0.5 × 0.5 µm" in text
        assert "objects 24 shape (z, y, x)" in text
        assert "time point 0" not in text.lower()

    def test_three_planes_in_true_proportion(self, anisotropic):
        pictures = anisotropic[1].pictures
        shapes = {name.split(" plane")[0]: pictures[name].shape[:2] for name in pictures if name.startswith("raw")}
        # 16 µm × 24 µm × 32 µm
        assert shapes == {"raw, xy": (480, 640), "raw, xz": (320, 640), "raw, yz": (320, 480)}

    def test_positions(self, anisotropic):
        text = anisotropic[1].text
        for where in ("xy plane at z = 4 (9 µm)", "xz plane at y = 24 (12.25 µm)", "yz plane at x = 32 (16.25 µm)"):
            assert where in text

    def test_panels(self, anisotropic):
        headings = {name.partition(", x")[0] for name in anisotropic[1].pictures if ", xy plane" in name}
        assert headings == {"raw", "boundary map", "objects", "truth (orange), result (blue)"}

    def test_scores_with_their_meaning(self, anisotropic):
        text = anisotropic[1].text
        assert "VOI split 0.2500 0 bits Variation of information lost to over-segmentation" in text
        assert "AP50 0.7500 1" in text
        assert "True objects 8" in text

    def test_sizes(self, anisotropic):
        text = anisotropic[1].text
        assert "Median size 512 µm³" in text  # cells of 4 × 16 × 16 voxels of 0.5 µm³
        assert "5th to 95th percentile 512 to 512 µm³" in text

    def test_settings_are_a_configuration_that_repeats_the_run(self, anisotropic):
        sample, _ = anisotropic
        shown = unescape(re.search("<pre>(.*?)</pre>", sample.page(), re.DOTALL)[1])
        config = validate_config(yaml.safe_load(shown), "page")
        assert config.model_dump(exclude={"samples", "results", "work", "execution"}) == sample.parameters["settings"]
        assert config.samples["cells"].model_dump() == sample.parameters["sample"]
        assert shown.startswith("samples:\n  cells:\n    input:\n")

    def test_counts_timings_versions_and_files(self, anisotropic):
        sample, page = anisotropic
        assert "1,234 – – 24" in page.text
        assert "supervoxels Over-segment the boundary map" in page.text
        assert "12.5 s 0.00197" in page.text
        assert re.search(r"Versions bigseg \d+\.\d+\S*, Python 3\.\d+.*numpy 2\.", page.text)
        assert str(sample.layout.result.absolute()) in page.text

    def test_user_text_is_escaped(self, anisotropic):
        assert "cells &amp; more.h5" in anisotropic[0].page()
        assert "cells & more.h5" not in anisotropic[0].page()

    def test_the_page_needs_nothing_else(self, anisotropic):
        for tag, attributes in anisotropic[1].tags:
            assert tag not in ("script", "link", "iframe")
            assert not any(str(attributes.get(key)).startswith("http") for key in ("src", "href"))

    def test_pictures_beside_it_are_those_of_the_page(self, anisotropic):
        sample, page = anisotropic
        for name, description in (("overview.png", "Planes through"), ("sizes.png", "Histogram")):
            beside = image.imread(sample.layout.result_folder / name)
            embedded = next(picture for key, picture in page.pictures.items() if key.startswith(description))
            assert (beside == embedded).all()


class TestOtherSamples:
    def test_2d_shows_one_plane_and_areas(self, tmp_path):
        page = write(finished_sample(tmp_path, cells((1, 1, 48, 64)), (7.0, 0.5, 0.5)))
        assert {name for name in page.pictures if "plane" in name and "Planes" not in name} == {
            "raw, xy plane",
            "boundary map, xy plane",
            "objects, xy plane",
        }
        assert "48 × 64 pixels" in page.text
        assert "Median size 64 µm²" in page.text
        assert "Dashed lines" not in page.text
        assert "Scores against" not in page.text

    def test_two_time_points(self, tmp_path):
        labels = cells((2, 8, 48, 64))
        labels[1, :, :, 32:] = 0
        sample = finished_sample(tmp_path, labels)
        page = write(sample)
        assert len([name for name in page.pictures if name.startswith("objects, ")]) == 3
        assert "Time point 0" in page.text
        assert "Time point 1" in page.text
        assert "0 – – – 24 1 – – – 12" in page.text
        overview = image.imread(sample.layout.result_folder / "overview.png")
        (tmp_path / "one").mkdir()
        one = finished_sample(tmp_path / "one", labels[:1])
        write(one)
        assert overview.shape[0] > 1.7 * image.imread(one.layout.result_folder / "overview.png").shape[0]

    def test_of_many_time_points_three_are_shown(self, tmp_path):
        page = write(finished_sample(tmp_path, cells((6, 1, 32, 32))))
        headings = re.findall(r"Time point \d", page.text)
        assert headings == ["Time point 0", "Time point 3", "Time point 5"]
        assert "Of 6 time points the first, the middle and the last are shown" in page.text

    def test_several_planes_along_each_axis(self, tmp_path):
        page = write(finished_sample(tmp_path, cells((1, 8, 48, 64)), report={"planes": 2}))
        assert [n for n in page.pictures if n.startswith("raw, xy")] == [
            "raw, xy plane at z = 2 (2.5 µm)",
            "raw, xy plane at z = 6 (6.5 µm)",
        ]

    def test_no_objects(self, tmp_path):
        page = write(finished_sample(tmp_path, np.zeros((1, 4, 32, 32), np.uint64), scored=True))
        assert "Objects 0" in page.text
        assert "0 – – – 0" in page.text

    def test_one_object_that_fills_the_volume(self, tmp_path):
        page = write(finished_sample(tmp_path, np.ones((1, 4, 32, 32), np.uint64)))
        assert "Median size 4.1e+03 µm³" in page.text

    def test_a_work_folder_that_was_deleted(self, tmp_path):
        page = write(finished_sample(tmp_path, cells((1, 4, 32, 32)), boundary=False))
        assert not any(name.startswith("boundary map") for name in page.pictures)
        assert "No ledger of this run is left" in page.text

    def test_an_object_has_one_colour_in_all_planes(self, tmp_path):
        labels = np.zeros((2, 16, 32, 32), np.uint64)
        labels[:, 2:14, 4:28, 4:28] = 5
        page = write(finished_sample(tmp_path, labels))
        outlines = [
            np.unique(_saturated(p), axis=0) for name, p in page.pictures.items() if name.startswith("objects,")
        ]
        assert len(outlines) == 3
        assert len(np.unique(np.concatenate(outlines), axis=0)) == 1


class TestMulticut:
    FIGURES = [  # noqa: RUF012
        {"energy": -1200.0, "lower_bound": -1500.0, "in_core_energy": -1250.0, "relative_gap": 0.04},
        {"energy": -34567.8, "lower_bound": -34567.8, "in_core_energy": None, "relative_gap": None},
    ]

    def sample(self, folder: Path, method: str) -> Sample:
        """Two time points with the figures of a multicut on disk."""
        sample = finished_sample(folder, cells((2, 1, 32, 32)), partition={"method": method})
        for time, figures_of_time in enumerate(self.FIGURES):
            write_json(sample.layout.multicut_quality(time), {**figures_of_time, "edges": 7, "repulsion": -9.0})
        return sample

    def test_energies(self, tmp_path):
        page = write(self.sample(tmp_path, "multicut"))
        assert "Time point Energy In core Gap Lower bound Above the bound" in page.text
        assert "0 -1,200.0 -1,250.0 4.0000% -1,500.0 20.00%" in page.text
        assert "1 -34,567.8 – – -34,567.8 0.00%" in page.text

    def test_other_methods_have_none(self, tmp_path):
        sample = self.sample(tmp_path, "gasp")
        assert "energy of a multicut" not in write(sample).text
        assert "partition.quality" not in {need.step for need in sample.step().needs(0)}

    def test_the_figures_of_every_time_point_are_needed(self, tmp_path):
        needs = self.sample(tmp_path, "multicut").step().needs(0)
        assert [need.time for need in needs if need.step == "partition.quality"] == [0, 1]

    def test_nothing_to_cut(self, tmp_path):
        none = {"energy": 0.0, "lower_bound": 0.0, "in_core_energy": 0.0, "relative_gap": 0.0}
        sample = self.sample(tmp_path, "multicut")
        write_json(sample.layout.multicut_quality(0), none)
        assert "0 0.0 0.0 0.0000% 0.0 0.00%" in write(sample).text

    @pytest.mark.parametrize("content", [None, "{", "[]", "3", '{"energy": -1.0}'])
    def test_damaged_figures_are_named(self, tmp_path, content):
        sample = self.sample(tmp_path, "multicut")
        path = sample.layout.multicut_quality(1)
        path.unlink() if content is None else path.write_text(content)
        with pytest.raises(UserError, match=r"t0001/quality\.json: is missing or damaged"):
            sample.step().process(0)


class TestStep:
    def test_the_same_result_gives_the_same_digest(self, tmp_path):
        step = finished_sample(tmp_path, cells((1, 1, 32, 32))).step()
        assert step.process(0) == step.process(0)

    @pytest.mark.parametrize("name", ReportPage.files)
    def test_a_missing_file_is_written_again(self, tmp_path, name):
        sample = finished_sample(tmp_path, cells((1, 1, 32, 32)))
        step = sample.step()
        outcome = step.process(0)
        record = Record(0, "key", outcome.digest)
        assert step.intact(0, record)
        (sample.layout.result_folder / name).unlink()
        assert not step.intact(0, record)

    def test_damaged_scores_are_named(self, tmp_path):
        sample = finished_sample(tmp_path, cells((1, 1, 32, 32)), scored=True)
        sample.layout.scores.write_text("{")
        with pytest.raises(UserError, match=r"scores\.json: is missing or damaged"):
            sample.step().process(0)

    def test_scores_are_needed_only_where_there_is_a_truth(self, tmp_path):
        sample = finished_sample(tmp_path, cells((1, 1, 32, 32)))
        assert "evaluate.scores" not in [need.step for need in sample.step().needs(0)]
        scored = ReportPage({**sample.parameters, "scored": True}, sample.layout, 0)
        assert "evaluate.scores" in [need.step for need in scored.needs(0)]


class TestFigures:
    @pytest.mark.parametrize(
        ("width", "bar", "text"),
        [(19.2, 2, "2 µm"), (20, 5, "5 µm"), (0.9, 0.2, "200 nm"), (5000, 1000, "1 mm"), (43, 10, "10 µm")],
    )
    def test_scale_bars_are_round(self, width, bar, text):
        assert figures.scale_bar_um(width) == pytest.approx(bar)
        assert figures.length_text(figures.scale_bar_um(width)) == text

    def test_panels_keep_their_pixels(self):
        picture = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)
        found = image.imread(io.BytesIO(figures.panel_png(picture, 0.1, bar=True)))
        assert (np.round(found[..., :3] * 255) == picture).all()  # too low for a scale bar

    def test_scale_bar_is_drawn_to_scale(self):
        found = image.imread(io.BytesIO(figures.panel_png(np.zeros((400, 400, 3), np.uint8), 0.1, bar=True)))
        white = (found[..., :3] > 0.99).all(axis=2)
        assert 98 <= white.sum(axis=1).max() <= 101  # 10 µm

    @pytest.mark.parametrize("sizes", [[], [3.0], [5.0, 5.0], [1.0, 2.0, 3.0], [1.0, 10.0, 1e5]])
    def test_histograms_of_any_sizes(self, sizes):
        values = np.array(sizes)
        assert image.imread(io.BytesIO(figures.sizes_png(values, values > 2, "µm³"))).shape[:2] == (576, 1024)

    def test_figures_are_the_same_every_time(self):
        sizes = np.arange(1.0, 40)
        assert figures.sizes_png(sizes, sizes > 30, "µm²") == figures.sizes_png(sizes, sizes > 30, "µm²")


def _saturated(picture: np.ndarray) -> np.ndarray:
    """The pixels of full colour, which outlines have; the image itself is grey."""
    colours = np.round(picture[..., :3].reshape(-1, 3) * 255)
    spread = colours.max(axis=1) - colours.min(axis=1)
    return colours[spread == spread.max()]
