"""Label volumes as users name them on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bigseg.errors import UserError

if TYPE_CHECKING:
    from bigseg.config.samples import Input


def label_input(
    role: Literal["result", "truth", "labels"],
    text: str,
    key: str | None = None,
    axes: str | None = None,
    *,
    command: str = "evaluate",
) -> Input:
    """What the user means by RESULT, TRUTH or LABELS.

    Args:
        role: which of these, for messages; the options of LABELS have no prefix.
        text: a path, or ``PATH:KEY`` (:func:`bigseg.volumes.label_files.split_key`).
        key: dataset in the container.
        axes: axes in the file, for example ``tzyx``.
        command: whose help tells more.

    Returns:
        The volume to open. Without a key it is, in a container that also holds the image, the labels
        (:func:`bigseg.volumes.label_files.default_key`).

    Raises:
        UserError: the key is given twice, an OME-Zarr holds several label images and none is ``segmentation``, or the
            axes make no sense.
    """
    from pydantic import ValidationError

    from bigseg.config.samples import Input
    from bigseg.volumes.label_files import default_key, split_key

    option = "--key" if role == "labels" else f"--{role}-key"
    path, named = split_key(text)
    if named is not None and key is not None:
        raise UserError(f"{text!r} names the dataset {named!r}, and {option} names {key!r}", f"leave out {option}")
    key = named or key
    if key is None:
        key = default_key(Path(path), option)
    try:
        return Input(path=path, key=key, axes=axes)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{first['loc'][0]} of the {role}: {first['msg']}", f"see `bigseg {command} --help`") from error
