"""What the configuration of stage track begins with is what the kernels were measured with."""

from __future__ import annotations

import inspect
from dataclasses import asdict

import numpy as np

from bigseg.config.tracking import Costs, Joint
from bigseg.kernels.tracking.candidates import LinkCosts
from bigseg.kernels.tracking.hierarchy import Limits, choice
from bigseg.stages.track.nested import hierarchy_tables


def test_costs():
    assert Costs().model_dump() == asdict(LinkCosts())


def test_joint_choice():
    told = Joint().model_dump()
    assert told.pop("maximum_volume_um3") == "auto"
    assert told.pop("context") >= 2, "with which windows cost nothing"
    limits = asdict(Limits())
    assert limits.pop("maximum_volume_um3") == np.inf
    rewards = {name: p.default for name, p in inspect.signature(choice).parameters.items() if p.default is not p.empty}
    assert told == {**limits, **rewards}


def test_largest_candidate():
    """`auto`: debris does not count, though it is most of the objects; what the cells merge to is left out."""
    volumes = np.array([1.0] * 70 + [100.0] * 30)
    number = len(volumes)
    fragments = {
        "id": np.arange(1, number + 1, dtype=np.uint64),
        **{f"{axis}_um": np.arange(number) / 1 for axis in "zyx"},
        "volume_um3": volumes,
        "border_um": np.ones(number),
    }
    ids = fragments["id"]
    contacts = {"u": ids[:-1], "v": ids[1:], "count": np.ones(number - 1), "outside": np.full(number - 1, 100.0)}
    everything = volumes.sum()
    for told, largest in (("auto", 2000), (None, np.inf), (3000.0, 3000)):
        settings = {**Joint().model_dump(), "maximum_volume_um3": told}
        found = hierarchy_tables(fragments, contacts, settings)["candidates"]["volume_um3"]
        assert found.max() <= largest
        assert (everything in found) == (everything <= largest)
    nothing = {name: column[:0] for name, column in fragments.items()}
    none = {name: column[:0] for name, column in contacts.items()}
    assert len(hierarchy_tables(nothing, none, Joint().model_dump())["candidates"]["id"]) == 0
