"""Values in a configuration change; comments and all the rest stay."""

from __future__ import annotations

import pytest

from bigseg.config.documents import default_yaml
from bigseg.config.edit import with_values
from bigseg.errors import UserError


def test_comments_stay():
    text = "# mine\nsamples: {a: 1}  # one\n\npartition:\n  # so\n  beta: 0.5 # was 0.4\n  method: gasp\nend: 1\n"
    found = with_values(text, {"partition": {"beta": 0.45, "method": "multicut"}})
    assert found == text.replace("0.5 #", "0.45 #").replace("gasp", "multicut")


def test_a_whole_default_configuration():
    text = default_yaml({"a": {"input": {"path": "a.tif"}}})
    found = with_values(text, {"partition": {"beta": 0.3}, "segment": {"minimum_object_size": 7}})
    before, after = text.splitlines(), found.splitlines()
    assert [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]] == [
        ("  beta: 0.5", "  beta: 0.3"),
        ("  minimum_object_size: 100", "  minimum_object_size: 7"),
    ]


def test_sections_in_sections():
    text = "p:\n  q:\n    x: 1 # c\n  z: 3\n"
    assert with_values(text, {"p": {"q": {"x": 2}}}) == text.replace("1 #", "2 #")
    assert with_values("p:\n  z: 3\n", {"p": {"q": {"x": 2}}}) == "p:\n  q: {x: 2}\n  z: 3\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 1", "a: 1\n\np:\n  x: 2\n  y: b\n"),
        ("p: {}\na: 1\n", "p: {x: 2, y: b}\na: 1\n"),
        ("p: {z: 1} # c\n", "p: {x: 2, y: b, z: 1} # c\n"),
        ("p:\n    # c\n    z: 1\n", "p:\n    # c\n    x: 2\n    y: b\n    z: 1\n"),
    ],
)
def test_missing_keys(text, found):
    assert with_values(text, {"p": {"x": 2, "y": "b"}}) == found


@pytest.mark.parametrize("text", ["p: &one {x: 1}\nq: *one\n", "- 1\n", "p: 3\n", "p:\n", "a: 1\n..."])
def test_what_cannot_be_changed_by_itself(text):
    with pytest.raises(UserError, match="cannot be changed by themselves") as caught:
        with_values(text, {"p": {"x": 2}})
    assert "x: 2" in caught.value.remedy
