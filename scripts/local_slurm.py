"""A SLURM cluster on this machine, for tests and for trying ``snakemake --profile slurm``.

    python scripts/local_slurm.py start FOLDER
    export PATH=FOLDER/bin:$PATH
    sinfo; snakemake --profile slurm ...
    python scripts/local_slurm.py stop FOLDER

Everything that it needs lies in FOLDER (configuration, keys, state, logs); nothing outside it is changed, and a SLURM
that the machine has is not touched. It needs root, and SLURM and MUNGE (on Debian and Ubuntu: ``apt-get install
slurm-wlm munge``). The nodes are daemons on this machine: together they offer more cores than there are. A job that
uses more memory than it asked for is killed; there is no accounting.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

CLIENTS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "sacct")
DAEMONS = ("munged", "slurmctld", "slurmd")
PROGRAMS = (*DAEMONS, "slurmstepd")
MARK = "BIGSEG_LOCAL_SLURM"
"""Variable in the environment of the daemons: the folder."""

CONFIGURATION = """\
# Written by bigseg's scripts/local_slurm.py
ClusterName=local
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=10
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/%n/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
SlurmdTimeout=10
ReturnToService=2
MpiDefault=none
MailProg=/bin/true
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class ClusterError(Exception):
    """The cluster cannot be started or used; the message tells why and what to do."""


def need_slurm() -> None:
    """Raise ClusterError unless a cluster can be started here."""
    missing = [name for name in DAEMONS + CLIENTS if find(name) is None]
    if missing:
        raise ClusterError(
            f"{', '.join(missing)} not found: install SLURM and MUNGE (Debian, Ubuntu: apt-get install slurm-wlm munge)"
        )
    if os.geteuid() != 0:
        raise ClusterError("SLURM's daemons need root: run this as root")


def find(program: str) -> str | None:
    """Where a program of SLURM is installed; daemons are not on everybody's PATH."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class Cluster:
    """The cluster of a folder."""

    def __init__(self, folder: Path) -> None:
        """Nothing is started yet."""
        self.folder = folder.resolve()
        self.configuration = self.folder / "slurm.conf"
        self.clients = self.folder / "bin"

    @property
    def nodes(self) -> list[str]:
        """Names of the nodes."""
        lines = self.configuration.read_text(encoding="utf-8").splitlines()
        return [line.split()[0].partition("=")[2] for line in lines if line.startswith("NodeName=")]

    def start(self, nodes: int, cpus: int, memory_mb: int) -> None:
        """Start ``nodes`` nodes, each of ``cpus`` cores and ``memory_mb`` MB, and wait until they are ready.

        Raises:
            ClusterError: this is not possible; nothing is left running.
        """
        need_slurm()
        if self.processes():
            raise ClusterError(f"{self.folder}: a cluster runs here already; stop it first")
        if self.folder.exists() and any(self.folder.iterdir()) and not self.is_made():
            raise ClusterError(f"{self.folder}: is not empty; name a folder for the cluster alone")
        if any(character in str(self.folder) for character in " \t\"'#=,"):
            raise ClusterError(f"{self.folder}: SLURM reads no such path; name a folder without blanks and signs")
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("bin", "log", "munge", "run", "spool", "state"):
            (self.folder / name).mkdir(parents=True)
        self._write_configuration(nodes, cpus, memory_mb)
        self._write_clients()
        try:
            self._start_munge()
            self._spawn("slurmctld", "-c")
            for node in self.nodes:
                (self.folder / "log" / node).mkdir()
                self.start_node(node)
            wait_for(lambda: self.states() == dict.fromkeys(self.nodes, "idle"), 60, "the nodes do not become ready")
        except ClusterError as error:
            self.stop()
            raise ClusterError(f"{error}; see {self.folder / 'log'}") from error

    def is_made(self) -> bool:
        """Whether the folder was made by this script."""
        with suppress(OSError):
            return self.configuration.read_text(encoding="utf-8").startswith(CONFIGURATION.partition("\n")[0])
        return False

    def _write_configuration(self, nodes: int, cpus: int, memory_mb: int) -> None:
        controller_port, *ports = free_ports(1 + nodes)
        lines = [CONFIGURATION.format(folder=self.folder, controller_port=controller_port)]
        for number, port in enumerate(ports, 1):
            lines.append(
                f"NodeName=n{number} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={port}"
                f" CPUs={cpus} RealMemory={memory_mb}\n"
            )
        self.configuration.write_text("".join(lines), encoding="utf-8")

    def _write_clients(self) -> None:
        """Commands for this cluster; a PATH tells Snakemake's jobs of it, since these forget SLURM_CONF."""
        for name in CLIENTS:
            path = self.clients / name
            path.write_text(f'#!/bin/sh\nSLURM_CONF={self.configuration} exec {find(name)} "$@"\n', encoding="utf-8")
            path.chmod(0o755)

    def _start_munge(self) -> None:
        munge = self.folder / "munge"
        key = munge / "key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        files = {
            "key-file": key,
            "socket": munge / "socket",
            "seed-file": munge / "seed",
            "log-file": self.folder / "log" / "munged.log",
            "pid-file": self.folder / "run" / "munged.pid",
        }
        self._spawn("munged", *(f"--{name}={path}" for name, path in files.items()))

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        self._spawn("slurmd", "-N", node)

    def _spawn(self, daemon: str, *arguments: str) -> None:
        """Start a daemon, which goes to the background by itself."""
        environment = {**os.environ, "SLURM_CONF": str(self.configuration), MARK: str(self.folder)}
        started = subprocess.run(
            [find(daemon) or daemon, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if started.returncode:
            raise ClusterError(f"{daemon} does not start: {(started.stdout + started.stderr).strip()}")

    def client(self, name: str, *arguments: str) -> str:
        """What a command of SLURM prints.

        Raises:
            ClusterError: the command fails.
        """
        try:
            done = subprocess.run([self.clients / name, *arguments], capture_output=True, text=True)
        except FileNotFoundError:
            raise ClusterError(f"{self.folder}: no cluster was started here") from None
        if done.returncode:
            raise ClusterError(f"{name}: {done.stderr.strip()}")
        return done.stdout

    def states(self) -> dict[str, str]:
        """State of each node; none while the controller does not answer."""
        try:
            lines = self.client("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines()
        except ClusterError:
            return {}
        return dict(line.split(maxsplit=1) for line in lines)

    def kill_node(self, node: str) -> None:
        """Kill a node's daemon and all processes of its jobs at once, as when a machine loses its power."""
        self._kill(node)

    def stop(self) -> None:
        """Kill all jobs and daemons; the folder stays, with its logs."""
        self._kill(None)

    def _kill(self, node: str | None) -> None:
        def killed() -> bool:
            found = self.processes(node)
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not found

        wait_for(killed, 30, "processes do not end")

    def processes(self, node: str | None = None) -> list[int]:
        """Processes of the cluster, or of one of its nodes: daemons and those that watch jobs, then those of the jobs.

        Killed in this order, they tell the controller nothing of their end.
        """
        daemons, jobs = [], []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended, or is not ours to look at
                program, place = (process / "exe").readlink().name, (process / "cwd").readlink()
                environment = read_environment(process)
                if program.startswith(PROGRAMS):  # Debian calls them slurmd-wlm and so on
                    # Those that watch jobs overwrite their environment; each works in the folder of its node's log.
                    own = environment.get(MARK) == str(self.folder) or self.folder / "log" in (place, place.parent)
                    if own and node in (None, place.name):
                        daemons.append(int(process.name))
                elif (on := environment.get("SLURMD_NODENAME")) is not None and node in (None, on):
                    path = environment.get("PATH", "").split(os.pathsep)
                    if environment.get("SLURM_CONF") == str(self.configuration) or str(self.clients) in path:
                        jobs.append(int(process.name))
        return daemons + jobs


def read_environment(process: Path) -> dict[str, str]:
    """Environment of a process, by its folder in ``/proc``."""
    pairs = (entry.partition(b"=") for entry in (process / "environ").read_bytes().split(b"\0"))
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens to."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait_for(condition: Callable[[], bool], seconds: float, problem: str) -> None:
    """Wait until ``condition``; raise ClusterError after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise ClusterError(problem)
        time.sleep(0.05)


def half_of_memory_mb() -> int:
    """Half of the machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2_000_000


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in {
        "start": "start a cluster and wait until it is ready",
        "stop": "kill its jobs and daemons",
        "status": "print its nodes and jobs; exit status 1 if it does not run",
        "kill-node": "kill a node with all that runs on it",
        "start-node": "start a node that was killed",
    }.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("folder", type=Path, metavar="FOLDER", help="folder of the cluster")
        if name == "start":
            cpus = max(2, os.cpu_count() or 2)
            command.add_argument("--nodes", type=int, default=2, metavar="N", help="number of nodes (2)")
            command.add_argument("--cpus", type=int, default=cpus, metavar="N", help=f"cores of a node ({cpus})")
            command.add_argument(
                "--memory-mb", type=int, default=half_of_memory_mb(), metavar="MB", help="memory of a node (half)"
            )
        elif name.endswith("node"):
            command.add_argument("node", metavar="NODE", help="n1, n2, …")
    arguments = parser.parse_args()
    try:
        return run(arguments)
    except ClusterError as error:
        print(f"local_slurm: {error}", file=sys.stderr)
        return 1


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks; the exit status."""
    cluster = Cluster(arguments.folder)
    if arguments.command == "start":
        cluster.start(arguments.nodes, arguments.cpus, arguments.memory_mb)
        print(f"export PATH={cluster.clients}:$PATH")
    elif arguments.command == "stop":
        cluster.stop()
    elif arguments.command == "status":
        print(cluster.client("sinfo", "--Node", "--long"), cluster.client("squeue"), sep="\n", end="")
    else:
        if not cluster.is_made() or arguments.node not in cluster.nodes:
            raise ClusterError(f"{cluster.folder}: no cluster with a node {arguments.node}")
        (cluster.kill_node if arguments.command == "kill-node" else cluster.start_node)(arguments.node)
    return 0


if __name__ == "__main__":
    sys.exit(main())
