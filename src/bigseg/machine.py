"""What a job runs on; nothing here changes a result."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """The means of one job.

    Attributes:
        threads: pieces that are worked on at the same time, or threads of a network's forward pass.
        device: ``auto``, ``cpu`` or ``cuda``, for networks.
        network_memory_gb: memory that the layers of a network may take on the CPU.
        compile: whether networks are compiled by torch, which takes minutes and pays on large volumes.
    """

    threads: int = 1
    device: str = "auto"
    network_memory_gb: float = 2.0
    compile: bool = False
