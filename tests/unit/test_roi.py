"""Regions: how users write them, and scores of a region of two volumes that begin at the same voxel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bigseg.cli.evaluate import evaluate
from bigseg.config.samples import Input
from bigseg.errors import UserError
from bigseg.geometry.box import Box
from bigseg.geometry.roi import parse_roi
from bigseg.kernels.contingency import count_pairs
from bigseg.kernels.scores import scores
from bigseg.volumes.part import PartOfSource
from bigseg.volumes.source import open_source


@given(st.data())
def test_a_region_is_what_numpy_makes_of_it(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(*[st.integers(1, 9)] * 3))
    parts, slices = [], []
    for n in shape:
        begin = data.draw(st.integers(0, n - 1))
        end = data.draw(st.integers(begin + 1, n))
        texts = [f"{begin}:{end}", *([f"{begin}:"] if end == n else []), *([f":{end}"] if begin == 0 else [])]
        parts.append(data.draw(st.sampled_from(texts)))
        slices.append(slice(begin, end))
    volume = np.arange(np.prod(shape)).reshape(shape)
    box = parse_roi(data.draw(st.sampled_from([",", ", "])).join(parts), shape)
    assert np.array_equal(volume[box.slices], volume[tuple(slices)])


@pytest.mark.parametrize("text", ["", "1:2", "0:4,0:4,0:4,0:4", "a:2,:,:", "3:3,:,:", "0:11,:,:", "-1:2,:,:", "2,:,:"])
def test_what_is_no_region(text: str) -> None:
    with pytest.raises(UserError, match="--roi"):
        parse_roi(text, (10, 10, 10))


def test_a_part_reads_what_the_whole_has_there(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 99, (6, 7, 8)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values)
    with PartOfSource(open_source(Input(path=str(tmp_path / "a.tif"), axes="zyx")), Box((1, 2, 3), (5, 7, 8))) as part:
        assert part.header.volume_shape == (4, 5, 5)
        assert np.array_equal(part.read(0, 0, Box((1, 0, 2), (3, 5, 5))), values[2:4, 2:7, 5:8])
        with pytest.raises(IndexError):
            part.read(0, 0, Box((0, 0, 0), (5, 1, 1)))


def test_scores_of_a_region_where_the_truth_is_smaller(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    result = rng.integers(0, 5, (12, 9, 8)).astype(np.uint16)
    truth = rng.integers(0, 4, (7, 9, 8)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "result.tif", result)
    tifffile.imwrite(tmp_path / "truth.tif", truth)
    app = typer.Typer()
    app.command()(evaluate)
    options = ["--result-axes", "zyx", "--truth-axes", "zyx", "--json"]
    files = [str(tmp_path / "result.tif"), str(tmp_path / "truth.tif"), *options]
    for text, region in (("0:7,:,:", np.s_[:7]), ("3:7,1:5,:", np.s_[3:7, 1:5])):
        found = CliRunner().invoke(app, [*files, "--roi", text])
        assert found.exit_code == 0, found.output
        expected = scores(count_pairs(result[:7][region], truth[region]))
        assert json.loads(found.stdout) == pytest.approx(expected)
    assert isinstance(CliRunner().invoke(app, [*files, "--roi", "0:8,:,:"]).exception, UserError)
