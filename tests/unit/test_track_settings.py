"""What the configuration of stage track begins with is what the kernels were measured with."""

from __future__ import annotations

import inspect
from dataclasses import asdict

import numpy as np

from bigseg.config.tracking import Costs, Joint
from bigseg.kernels.tracking.candidates import LinkCosts
from bigseg.kernels.tracking.hierarchy import Limits, choice


def test_costs():
    assert Costs().model_dump() == asdict(LinkCosts())


def test_joint_choice():
    told = Joint().model_dump()
    assert told.pop("maximum_volume_um3") is None
    assert told.pop("context") >= 2, "with which windows cost nothing"
    limits = asdict(Limits())
    assert limits.pop("maximum_volume_um3") == np.inf
    rewards = {name: p.default for name, p in inspect.signature(choice).parameters.items() if p.default is not p.empty}
    assert told == {**limits, **rewards}
