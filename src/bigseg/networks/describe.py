"""Describe a model in a process of its own: ``python -m bigseg.networks.describe SPEC`` prints one JSON line."""

from __future__ import annotations

import sys

from bigseg.errors import UserError
from bigseg.networks.description import ModelSpec


def main() -> None:
    """Print the description, or what is wrong with the model."""
    import json

    try:
        from bigseg.networks.model import load_model

        answer = load_model(ModelSpec.model_validate_json(sys.argv[1])).description.model_dump(mode="json")
    except UserError as error:
        answer = {"problem": error.problem, "remedy": error.remedy}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
