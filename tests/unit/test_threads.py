"""Threads of libraries: none beside those that work on blocks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

CODE = """
    import json, os, sys, time
    import bigseg.cli
    assert not {"numpy", "torch", "numba"} & set(sys.modules), "too late to limit their threads"
    import numpy as np
    a = np.random.default_rng(0).random((700, 700))
    for _ in range(3):
        a = a @ a / 700
    tasks = os.listdir("/proc/self/task") if os.path.isdir("/proc/self/task") else [0]
    print(json.dumps({"threads": len(tasks), "omp": os.environ["OMP_NUM_THREADS"]}))
"""


def test_libraries_start_no_threads_whatever_the_environment_says():
    environment = {**os.environ, "OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3", "MKL_NUM_THREADS": "3"}
    command = [sys.executable, "-c", textwrap.dedent(CODE)]
    found = json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert found == {"threads": 1, "omp": "1"}
