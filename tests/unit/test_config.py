"""The configuration: what it refuses and how it says so, and the documents that are made from it."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from bigseg.config import load_config, validate_config
from bigseg.config.documents import default_yaml, reference, schema
from bigseg.config.models import Config
from bigseg.config.samples import Affinities, Input, Sample
from bigseg.config.stages import Lifted
from bigseg.errors import UserError
from bigseg.stages import STEPS

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLES = {"embryo": {"input": {"path": "embryo.tif"}}}


def refusal(**settings: Any) -> str:
    """What a user is told of a configuration with one valid sample and these settings."""
    with pytest.raises(UserError) as caught:
        validate_config({"samples": SAMPLES, **settings}, "my.yaml")
    assert caught.value.remedy
    text = caught.value.problem
    assert text.startswith("my.yaml: ")
    assert "pydantic" not in str(caught.value)
    return text.removeprefix("my.yaml: ")


def sample(**keys: Any) -> dict[str, Any]:
    return {"embryo": {"input": {"path": "embryo.tif"}, **keys}}


# What is refused


@pytest.mark.parametrize(
    ("settings", "path", "wanted"),
    [
        ({"partition": {"betta": 0.4}}, "partition.betta", "beta"),
        ({"supervoxel": {}}, "supervoxel", "supervoxels"),
        ({"samples": {"embryo": {"inptu": {"path": "a"}, "input": {"path": "a"}}}}, "samples.embryo.inptu", "input"),
        ({"samples": sample(input={"path": "a", "keys": "raw"})}, "samples.embryo.input.keys", "key"),
        ({"samples": sample(truth={"path": "a", "axis": "zyx"})}, "samples.embryo.truth.axis", "axes"),
        ({"execution": {"thread": 4}}, "execution.thread", "threads"),
    ],
)
def test_an_unknown_key_is_named_with_the_one_that_was_meant(settings, path, wanted):
    told = refusal(**settings)
    assert told.startswith(f"{path}: unknown key; did you mean {wanted!r}?")


def test_an_unknown_key_like_no_other_names_all_known_ones():
    told = refusal(partition={"qqqq": 1})
    assert "did you mean" not in told
    for key in ("beta", "linkage", "method", "size_weight"):
        assert key in told
    assert "none" in refusal(graph={"x": 1})


@pytest.mark.parametrize(
    ("settings", "path", "value", "allowed"),
    [
        ({"partition": {"beta": "0.5"}}, "partition.beta", "'0.5'", "number"),
        ({"partition": {"beta": 1.5}}, "partition.beta", "1.5", "less than 1"),
        ({"partition": {"beta": None}}, "partition.beta", "None", "number"),
        (
            {"partition": {"method": "gaps"}},
            "partition.method",
            "'gaps'",
            "'gasp', 'multicut', 'lifted_multicut' or 'mutex_watershed'",
        ),
        ({"partition": 3}, "partition", "3", "dictionary"),
        ({"predict": {"channel": -1}}, "predict.channel", "-1", "greater than or equal to 0"),
        ({"predict": {"invert": "no"}}, "predict.invert", "'no'", "boolean"),
        ({"predict": {"percentiles": [1.0]}}, "predict.percentiles", "[1.0]", "at least 2"),
        ({"predict": {"percentiles": [1.0, 101.0]}}, "predict.percentiles.1", "101.0", "less than or equal to 100"),
        ({"supervoxels": {"sigma_seeds": float("nan")}}, "supervoxels.sigma_seeds", "nan", ""),
        ({"supervoxels": {"halo": [4, 4]}}, "supervoxels.halo", "[4, 4]", "at least 3"),
        ({"supervoxels": {"halo": [4, 4, -4]}}, "supervoxels.halo.2", "-4", "greater than or equal to 0"),
        ({"supervoxels": {"halo": "big"}}, "supervoxels.halo", "'big'", "'auto'"),
        ({"blocks": {"block_shape": [0, 8, 8]}}, "blocks.block_shape.0", "0", "greater than 0"),
        ({"blocks": {"block_shape": [64, 64, 64.5]}}, "blocks.block_shape.2", "64.5", "integer"),
        ({"blocks": {"block_shape": 64}}, "blocks.block_shape", "64", "list"),
        ({"execution": {"batches": 0}}, "execution.batches", "0", "greater than 0"),
        ({"execution": {"threads": True}}, "execution.threads", "True", "integer"),
        ({"results": ""}, "results", "''", "at least 1"),
        ({"results": 7}, "results", "7", "string"),
        ({"samples": {}}, "samples", "{}", "at least 1"),
        ({"samples": None}, "samples", "None", "dictionary"),
        ({"samples": sample(times=[2, 1])}, "samples.embryo.times", "[2, 1]", "ascending"),
        ({"samples": sample(times=[1, 1])}, "samples.embryo.times", "[1, 1]", "distinct"),
        ({"samples": sample(times=[])}, "samples.embryo.times", "[]", "at least 1"),
        ({"samples": sample(times=[-1])}, "samples.embryo.times.0", "-1", "greater than or equal to 0"),
        ({"samples": sample(input={"path": ""})}, "samples.embryo.input.path", "''", "at least 1"),
        ({"samples": sample(input={"path": "a", "axes": "zyxx"})}, "samples.embryo.input.axes", "'zyxx'", "distinct"),
        ({"samples": sample(input={"path": "a", "axes": "XYZ"})}, "samples.embryo.input.axes", "'XYZ'", "tczyx"),
        (
            {"samples": sample(mask={"path": "a", "voxel_size_um": [1.0, 0.0, 1.0]})},
            "samples.embryo.mask.voxel_size_um.1",
            "0.0",
            "greater than 0",
        ),
    ],
    ids=str,
)
def test_a_wrong_value_is_named_with_what_is_allowed(settings, path, value, allowed):
    told = refusal(**settings)
    lines = [line.strip() for line in told.splitlines()]
    assert any(line.startswith(f"{path}: {value} is not allowed: ") and allowed in line for line in lines), told


@pytest.mark.parametrize(
    ("settings", "path", "told"),
    [
        ({"predict": {"percentiles": [99.0, 1.0]}}, "percentiles", "[99.0, 1.0] must ascend"),
        ({"predict": {"percentiles": [5.0, 5.0]}}, "percentiles", "[5.0, 5.0] must ascend"),
        ({"results": "out", "work": "out"}, "work", "'out' must differ from results"),
        ({"results": "out", "work": "./out/"}, "work", "'./out/' must differ from results"),
        (
            {"blocks": {"block_shape": [32, 100, 64], "chunk_shape": [32, 32, 32]}},
            "blocks.block_shape",
            "[32, 100, 64] is not a whole number of chunks [32, 32, 32]; a legal shape is [32, 96, 64]",
        ),
        (
            {"blocks": {"block_shape": [16, 64, 64], "chunk_shape": [32, 32, 32]}},
            "blocks.block_shape",
            "a legal shape is [32, 64, 64]",
        ),
        ({"blocks": {"chunk_shape": [32, 32, 32]}}, "blocks.chunk_shape", "together with blocks.block_shape"),
        ({"samples": {"my embryo": {"input": {"path": "a"}}}}, "samples.my embryo", "letters, digits, '_' and '-'"),
        ({"samples": {"../up": {"input": {"path": "a"}}}}, "samples.../up", "letters, digits"),
        ({"samples": {"a.ome.zarr": {"input": {"path": "a"}}}}, "samples.a.ome.zarr", "letters, digits"),
        ({"samples": {"-x": {"input": {"path": "a"}}}}, "samples.-x", "letters, digits"),
        ({"samples": {"a\n": {"input": {"path": "a"}}}}, "samples.a", "letters, digits"),
    ],
    ids=str,
)
def test_an_impossible_combination_is_refused(settings, path, told):
    text = refusal(**settings)
    assert path in text
    assert told in text


def test_a_name_that_yaml_reads_as_a_number_is_named():
    assert "samples.7" in refusal(samples={7: {"input": {"path": "a"}}})


def test_names_that_look_like_something_else_are_names():
    """Samples may be named like a key or a type."""
    for name in ("input", "str", "int", "literal", "list"):
        told = refusal(samples={name: {"input": {"path": "a"}, "timse": [1]}})
        assert told.startswith(f"samples.{name}.timse: unknown key; did you mean 'times'?")
    assert refusal(partition={"int": 3}).startswith("partition.int: unknown key")


def test_what_is_missing_is_named():
    assert refusal(samples={"embryo": {}}) == "samples.embryo.input: is missing"
    assert refusal(samples={"embryo": {"input": {}}}) == "samples.embryo.input.path: is missing"
    with pytest.raises(UserError, match="samples: is missing"):
        validate_config({}, "my.yaml")


def test_all_mistakes_are_told_at_once():
    told = refusal(partition={"beta": 7, "methd": "gasp"}, predict={"sigma": -1.0})
    for path in ("partition.beta", "partition.methd", "predict.sigma"):
        assert path in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("samples: [", "is not YAML"),
        ("samples: {a: {input: {path: \ta}}}", "is not YAML"),
        ("- a\n- b\n", "holds no settings"),
        ("", "holds no settings"),
        ("just words", "holds no settings"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path, text, told):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=told) as caught:
        load_config(path)
    assert str(path) in caught.value.problem
    assert caught.value.remedy


def test_a_missing_and_a_binary_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UserError, match="is not YAML"):
        load_config(tmp_path / "binary.yaml")


def test_a_valid_configuration_keeps_its_values_and_does_not_change():
    config = validate_config({"samples": SAMPLES, "partition": {"beta": 0.25}, "predict": {"sigma": 2}}, "my.yaml")
    assert config.partition.beta == 0.25
    assert config.predict.sigma == 2.0
    assert config.supervoxels == Config.model_fields["supervoxels"].default
    with pytest.raises(ValueError, match="frozen"):
        config.partition.beta = 0.7


# The documents that are made from the models


def generator() -> Any:
    """scripts/generate_config.py as a module."""
    spec = importlib.util.spec_from_file_location("generate_config", REPOSITORY / "scripts" / "generate_config.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_files_are_up_to_date():
    documents = generator().documents()
    assert {path.name for path in documents} == {"config.yaml", "config.schema.json", "README.md"}
    for path, content in documents.items():
        assert path.read_text(encoding="utf-8") == content, f"{path} is out of date: run `make config`"


def test_the_default_file_holds_every_default():
    given = yaml.safe_load(default_yaml(SAMPLES))
    config = validate_config(given, "config.yaml")
    assert config == validate_config({"samples": SAMPLES}, "config.yaml")
    for name, field in Config.model_fields.items():
        if isinstance(field.default, BaseModel):
            assert set(given[name]) == set(type(field.default).model_fields)


def test_files_in_the_repository_are_valid_and_their_data_where_they_say():
    for name in ("config.yaml", "demo.yaml"):
        load_config(REPOSITORY / "config" / name)
    example = load_config(REPOSITORY / "config" / "config.yaml").samples["example"]
    assert (REPOSITORY / example.input.path).is_file()
    assert (REPOSITORY / example.truth.path).is_file()


def test_the_schema_accepts_what_the_models_accept_and_refuses_what_they_refuse():
    parsed = json.loads(schema())
    jsonschema.Draft202012Validator.check_schema(parsed)
    check = jsonschema.Draft202012Validator(parsed)
    for name in ("config.yaml", "demo.yaml"):
        check.validate(yaml.safe_load((REPOSITORY / "config" / name).read_text(encoding="utf-8")))
    for wrong in (
        {},
        {"samples": SAMPLES, "partition": {"betta": 0.5}},
        {"samples": SAMPLES, "partition": {"beta": "0.5"}},
        {"samples": SAMPLES, "partition": {"beta": 1.0}},
        {"samples": SAMPLES, "blocks": {"block_shape": [1, 2]}},
        {"samples": SAMPLES, "blocks": {"block_shape": "large"}},
        {"samples": {"a": {"truth": {"path": "x"}}}},
    ):
        assert not check.is_valid(wrong), wrong


def test_every_key_is_explained_in_the_reference_and_in_the_default_file():
    page, text = reference(), default_yaml(SAMPLES)
    models = [Config, Sample, Input, Affinities, Lifted]
    models += [type(f.default) for f in Config.model_fields.values() if isinstance(f.default, BaseModel)]
    for model in models:
        for name, field in model.model_fields.items():
            if isinstance(field.default, BaseModel):
                assert re.search(rf"^## `(\w+\.)?{name}`$", page, re.MULTILINE)
            else:
                assert f"| `{name}` |" in page
            assert field.description, f"{model.__name__}.{name} has no description"
    for name in Config.model_fields:
        assert f"\n{name}:" in text


def test_every_stage_has_a_section_of_its_name():
    stages = {step.partition(".")[0] for step in STEPS}
    assert stages == {name for name, f in Config.model_fields.items() if isinstance(f.default, BaseModel)} - {
        "blocks",
        "execution",
    }
