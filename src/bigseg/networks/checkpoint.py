"""Weights on disk: pytorch-3dunet's checkpoints and plain state dicts. Nothing but tensors is ever unpickled."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import IO, Any

import torch

from bigseg.errors import UserError
from bigseg.networks.architecture import Architecture
from bigseg.networks.unet import UNet, build

WEIGHTS_KEY = "model_state_dict"
"""Where pytorch-3dunet's checkpoints keep the weights, beside the optimiser's state."""

State = dict[str, torch.Tensor]


def read_state(file: Path | IO[bytes], origin: str) -> State:
    """The weights of a checkpoint or state dict, on the CPU.

    Args:
        file: where it lies, or an open file.
        origin: what messages call it.

    Raises:
        UserError: it is missing, damaged, or holds other things than tensors.
    """
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{origin}: there is no such file", "correct the path of the weights") from error
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{origin}: is damaged, or holds Python objects besides weights, which are not loaded because they could "
            "run any code",
            "get the file again, or save the network's state_dict() alone",
        ) from error
    except Exception as error:  # what a damaged file leads to depends on where it is damaged
        raise UserError(f"{origin}: cannot be read as weights ({_first_line(error)})", "get the file again") from error
    while isinstance(content, dict) and isinstance(content.get(WEIGHTS_KEY), dict):
        content = content[WEIGHTS_KEY]
    if not isinstance(content, dict) or not content or not all(torch.is_tensor(v) for v in content.values()):
        raise UserError(
            f"{origin}: holds no weights (a dictionary of tensors, or one under {WEIGHTS_KEY!r})",
            "give a checkpoint of pytorch-3dunet, or a state_dict()",
        )
    # DataParallel puts the network into a `module`.
    return {key.removeprefix("module."): value for key, value in content.items()}


def load_network(architecture: Architecture, state: State, origin: str) -> UNet:
    """The network with its weights, ready to predict.

    Raises:
        UserError: the weights are those of another network, or not finite.
    """
    network = build(architecture)
    expected = network.state_dict()
    wrong = [key for key in expected if key not in state] + [key for key in state if key not in expected]
    wrong += [key for key in expected if key in state and expected[key].shape != state[key].shape]
    if wrong:
        key = wrong[0]
        raise UserError(
            f"{origin}: its weights are not those of a {architecture.name} with {list(architecture.features)} feature "
            f"maps and layers {architecture.layer_order!r}: {key} is {_shape(state, key)} there, "
            f"{_shape(expected, key)} in the network",
            "give the configuration that the network was trained with",
        )
    check_finite(state, origin)
    network.load_state_dict(state)
    return network.eval()


def check_finite(state: dict[str, Any], origin: str) -> None:
    """Refuse weights that are NaN or infinite.

    Raises:
        UserError: some are.
    """
    for key, value in state.items():
        if torch.is_tensor(value) and value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise UserError(
                f"{origin}: the weights {key} hold NaN or infinity", "the training diverged; use an earlier checkpoint"
            )


def _shape(state: State, key: str) -> str:
    return f"of shape {list(state[key].shape)}" if key in state else "missing"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
