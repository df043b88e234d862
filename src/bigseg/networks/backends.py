"""What runs a network: torch, TorchScript or ONNX Runtime, behind one call on tensors."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch

from bigseg.errors import UserError
from bigseg.networks.checkpoint import check_finite

Tensor = torch.Tensor
Network = Callable[[Tensor], Tensor]


def load_torchscript(content: bytes, origin: str) -> torch.nn.Module:
    """A TorchScript module on the CPU.

    Raises:
        UserError: it is damaged, or its weights are not finite.
    """
    try:
        module = torch.jit.load(io.BytesIO(content), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        reason = (str(error).splitlines() or ["damaged"])[0]
        raise UserError(f"{origin}: cannot be read as TorchScript ({reason})", "get the file again") from error
    check_finite(module.state_dict(), origin)
    return cast("torch.nn.Module", module)


_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "failed to allocate memory",
    "bad_alloc",
    "bad allocation",
)
"""What torch, CUDA, ONNX Runtime and C++ say, whatever the type of their exception."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a network failed because there was not enough memory."""
    text = str(error).lower()
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(words in text for words in _NO_MEMORY)


class OnnxNetwork:
    """An ONNX model in ONNX Runtime; takes and gives tensors."""

    def __init__(self, content: bytes, origin: str) -> None:
        """Read the model; sessions are made when it is known where it shall run.

        Raises:
            UserError: it is damaged, keeps its weights in other files, or they are not finite.
        """
        import onnx
        from google.protobuf.message import DecodeError

        try:
            self.model = onnx.load_model_from_string(content)
            onnx.checker.check_model(self.model)
        except (DecodeError, onnx.checker.ValidationError, ValueError, RuntimeError) as error:
            reason = (str(error).splitlines() or ["damaged"])[0]
            raise UserError(f"{origin}: cannot be read as ONNX ({reason})", "get the file again") from error
        self.origin = origin
        self._content = content
        self._session: Any = None
        self._single = False
        for tensor in self.model.graph.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                raise UserError(f"{origin}: keeps its weights in other files", "save the model as one file")
            values = onnx.numpy_helper.to_array(tensor)
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise UserError(
                    f"{origin}: the weights {tensor.name} hold NaN or infinity", "use an earlier checkpoint"
                )

    def place(self, device: str, threads: int) -> None:
        """Make the session.

        Raises:
            UserError: the GPU was asked for and this ONNX Runtime has none, or it does not know the model's operations.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        providers: list[str | tuple[str, dict[str, int]]] = ["CPUExecutionProvider"]
        if device.startswith("cuda"):
            if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
                raise UserError(
                    f"{self.origin}: this ONNX Runtime has no GPU support",
                    "install onnxruntime-gpu, or choose the device cpu",
                )
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": torch.device(device).index or 0}))
        try:
            self._session = onnxruntime.InferenceSession(self._content, options, providers=providers)
        except Exception as error:  # its exceptions have no common base
            reason = (str(error).splitlines() or ["unknown"])[0]
            raise UserError(f"{self.origin}: ONNX Runtime refuses the model ({reason})", "export it again") from error
        first = self._session.get_inputs()[0]
        self._name, self._single = first.name, first.shape[0] == 1

    def __call__(self, batch: Tensor) -> Tensor:
        """Run the model; sample by sample where it was exported for one.

        Raises:
            torch.OutOfMemoryError: there is not enough memory, as from a network in torch.
        """
        if self._session is None:
            self.place("cpu", 1)
        values = batch.detach().cpu().numpy()
        parts = np.split(values, len(values)) if self._single else [values]
        try:
            found = [self._session.run(None, {self._name: part})[0] for part in parts]
        except Exception as error:  # its exceptions have no common base
            if is_out_of_memory(error):
                raise torch.OutOfMemoryError(str(error)) from error
            raise
        return torch.from_numpy(np.concatenate(found) if len(found) > 1 else found[0])
