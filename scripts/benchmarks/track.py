"""Tracking: a long movie of many objects in windows, and how right the links and divisions are.

The large movie is a crowd of dividing objects (:mod:`_crowd`), made beforehand. A job is a window or a junction, two at
a time in processes of their own: it makes its candidate events from detections and overlaps and solves them; then one
process numbers the tracks. The quality figures are those of a real movie from its true masks, of a synthetic dense
tissue, and of the joint choice of nested candidates in windows against the whole. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from _crowd import crowd, overlaps_of_balls
from _halves import CrowdInHalves

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "unit"))
from tracking_checks import Movie, agreement, movie_of, simulated_nuclei, tissue, tra_of_true_masks
from tracking_planted import joint, planted
from tracking_problems import windowed
from volumes_checks import DATA

from bigseg.geometry.movie import Junction, Window, junction_ranges, window_ranges
from bigseg.kernels.tracking.candidates import LinkCosts, candidates
from bigseg.kernels.tracking.greedy import solve_greedy
from bigseg.kernels.tracking.model import Detections, Events, Overlaps, Pair
from bigseg.kernels.tracking.program import energy, solve
from bigseg.kernels.tracking.tracing import begin, extend
from bigseg.kernels.tracking.windows import solve_junction, solve_window
from bigseg.local import run_here
from bigseg.planning.stains import STAINS
from bigseg.planning.workflow import Workflow

WINDOW = 10
"""Time points of a window."""

JOINT_WINDOW, JOINT_CONTEXT = 6, 2
"""Time points of a window of the joint choice, and of its context."""

THRESHOLDS = (0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8)
"""Single thresholds that the joint choice is compared with."""


@dataclass(frozen=True)
class Crowd:
    """The tables of a large movie in a folder, and its jobs."""

    folder: Path
    times: int

    def write(self, objects: int) -> None:
        """Make detections, overlaps and true events."""
        frames, sources = crowd(objects, self.times)
        for t, frame in enumerate(frames):
            np.savez(self.folder / f"detections-{t}.npz", **vars(frame))
        for t, source in enumerate(sources):
            np.savez(self.folder / f"overlaps-{t}.npz", **vars(overlaps_of_balls(frames[t], frames[t + 1])))
            np.save(self.folder / f"source-{t}.npy", source)

    def detections(self, t: int) -> Detections:
        """Of a time point."""
        with np.load(self.folder / f"detections-{t}.npz") as file:
            return Detections(**file)

    def pair(self, t: int) -> Pair:
        """Candidate events between a time point and the next."""
        with np.load(self.folder / f"overlaps-{t}.npz") as file:
            overlaps = Overlaps(**file)
        return candidates(self.detections(t), self.detections(t + 1), overlaps, LinkCosts())

    def job(self, part: Window | Junction) -> float:
        """Solve a window or a junction, and write the events; peak memory of the process in GB."""
        pairs = [self.pair(t) for t in range(part.first, part.last - 1)]
        if isinstance(part, Window):
            solution = solve_window(part, pairs)
            first = part.begin
        else:
            before, after = np.ones(len(pairs[0].disappearance), bool), np.ones(len(pairs[-1].appearance), bool)
            solution = solve_junction(part, pairs, before, after)
            first = part.first
        for t, events in enumerate(solution.events, first):
            np.savez(self.folder / f"events-{t}.npz", links=events.links, divisions=events.divisions)
        return peak_gb(resource.RUSAGE_SELF)

    def events(self, t: int) -> Events:
        """What was chosen between a time point and the next."""
        with np.load(self.folder / f"events-{t}.npz") as file:
            return Events(**file)

    def lineage(self) -> tuple[int, int]:
        """Number the tracks; how many, and how many divisions."""
        found = begin(0, np.ones(len(self.detections(0).ids), bool))
        for t in range(self.times - 1):
            found = extend(found, t + 1, np.ones(len(self.detections(t + 1).ids), bool), self.events(t))
        return found.number, sum(len(self.events(t).divisions) for t in range(self.times - 1))

    def agreement(self) -> tuple[float, float]:
        """F1 of links and of divisions, over all pairs."""
        count = np.zeros((2, 3))
        for t in range(self.times - 1):
            source, events = np.load(self.folder / f"source-{t}.npy"), self.events(t)
            children = np.bincount(source, minlength=int(source.max()) + 1)
            links = events.links
            right = (source[links[:, 1]] == links[:, 0]) & (children[links[:, 0]] == 1)
            count[0] += (children == 1).sum(), len(links), right.sum()
            split = events.divisions
            count[1] += (children == 2).sum(), len(split), (source[split[:, 1:]] == split[:, :1]).all(axis=1).sum()
        links_f1, divisions_f1 = 2 * count[:, 2] / (count[:, 0] + count[:, 1])
        return float(links_f1), float(divisions_f1)


def peak_gb(who: int) -> float:
    """Peak resident memory."""
    return resource.getrusage(who).ru_maxrss / 2**20


def large(objects: int, times: int) -> dict[str, float]:
    """The large movie."""
    with tempfile.TemporaryDirectory() as folder:
        movie = Crowd(Path(folder), times)
        writer = multiprocessing.get_context("spawn").Process(target=movie.write, args=(objects,))
        writer.start()
        writer.join()
        started = time.perf_counter()
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            peaks = pool.map(movie.job, window_ranges(times, WINDOW, 0), chunksize=1)
            peaks += pool.map(movie.job, junction_ranges(times, WINDOW, 1), chunksize=1)
        solved = time.perf_counter()
        tracks, divisions = movie.lineage()
        numbered = time.perf_counter()
        links_f1, divisions_f1 = movie.agreement()
        count = sum(len(movie.detections(t).ids) for t in range(times))
    peak = 2 * max(peaks) + peak_gb(resource.RUSAGE_SELF)
    print(f"{count:,} objects at {times} time points, {tracks:,} tracks, {divisions:,} divisions; windows of {WINDOW}")
    print("| | |\n|---|---|")
    print(f"| windows and junctions, two processes | {solved - started:.1f} s |")
    print(f"| lineage | {numbered - solved:.1f} s |")
    print(f"| peak memory of a job | {max(peaks):.2f} GB |")
    print(f"| F1 of links | {links_f1:.4f} |\n| F1 of divisions | {divisions_f1:.4f} |", flush=True)
    return {
        "seconds": round(numbered - started, 1),
        "peak_gb": round(peak, 3),
        "large_objects": count,
        "large_link_f1": round(links_f1, 5),
        "large_division_f1": round(divisions_f1, 5),
    }


def quality(name: str, movie: Movie) -> dict[str, float]:
    """Links and divisions of a movie by the program, and a line for the table."""
    pairs = movie.pairs()
    solution, fast = solve(pairs), solve_greedy(pairs)
    found, quick = agreement(movie, solution), agreement(movie, fast)
    tra = tra_of_true_masks(movie, solution)
    greedy = (energy(pairs, None, fast) - energy(pairs, None, solution)) / energy(pairs, None, solution)
    print(
        f"| {name} | {found.link_f1:.4f} | "
        f"{found.divisions_right} of {found.divisions}, {found.divisions_found} given | "
        f"{found.division_f1:.3f} | {tra:.4f} | {quick.link_f1:.4f} | {quick.division_f1:.3f} | {greedy:+.2%} |",
        flush=True,
    )
    return {"tra": round(tra, 5), "divisions": found.divisions_right, "f1": round(found.division_f1, 4)}


def windowed_gap() -> float:
    """How much dearer the joint choice is in windows than in one program; the largest over three movies."""
    gaps = []
    for seed in range(3):
        _, _, pairs, choices = joint(planted(seed, times=14))
        whole = energy(pairs, choices, solve(pairs, choices))
        for window, context, reach in ((4, 1, 1), (4, 2, 2), (6, 3, 3)):
            parts = energy(pairs, choices, windowed(pairs, choices, window, context, reach))
            gaps.append((parts - whole) / abs(whole))
            print(f"| {seed} | {window} | {context} | {reach} | {gaps[-1]:.2e} |", flush=True)
    return max(gaps)


def joint_choice(objects: int, times: int) -> dict[str, float]:
    """The joint choice of a crowd in halves, in windows; and the best of single thresholds, by the same program."""
    movie = CrowdInHalves(objects, times)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        with multiprocessing.get_context("spawn").Pool(2, maxtasksperchild=1) as pool:
            windows = [(movie, Path(folder), part) for part in window_ranges(times, JOINT_WINDOW, JOINT_CONTEXT)]
            measured = pool.map(solve_part, windows, chunksize=1)
            junctions = [(movie, Path(folder), part) for part in junction_ranges(times, JOINT_WINDOW, JOINT_CONTEXT)]
            measured += pool.map(solve_part, junctions, chunksize=1)
        seconds = time.perf_counter() - started
        found = movie.scores(Path(folder))
    best = max((movie.scores_of_threshold(threshold) for threshold in THRESHOLDS), key=lambda scores: scores["tra"])
    peak, cpu = max(p for p, _ in measured), sum(c for _, c in measured)
    print(f"\n{objects} objects in halves, {times} time points, {movie.candidates:,} candidates at each", flush=True)
    print("| joint choice | |\n|---|---|")
    print(f"| windows and junctions, two processes | {seconds:.1f} s, {cpu:.1f} s of CPU |")
    print(f"| peak memory of a job | {peak:.2f} GB |")
    print(f"| TRA, DET | {found['tra']:.4f}, {found['det']:.4f} |")
    print(f"| best threshold: TRA, DET | {best['tra']:.4f}, {best['det']:.4f} |", flush=True)
    return {
        "joint_seconds": round(seconds, 1),
        "joint_cpu_seconds": round(cpu, 1),
        "joint_peak_gb": round(peak, 3),
        "joint_tra": round(found["tra"], 4),
        "best_threshold_tra": round(best["tra"], 4),
    }


def solve_part(job: tuple[CrowdInHalves, Path, Window | Junction]) -> tuple[float, float]:
    """Solve a window or a junction of a crowd in halves: peak memory in GB, and seconds of CPU."""
    movie, folder, part = job
    movie.solve(folder, part)
    return peak_gb(resource.RUSAGE_SELF), time.process_time()


def from_raw(path: Path, method: str) -> dict[str, float]:
    """Scores of the whole workflow, from the raw images and with what `bigseg init --stain nuclei` begins with."""
    movie = {"path": str(path), "axes": "tyx"}
    sample = {
        "input": {**movie, "key": "raw", "voxel_size_um": [1.0, 1.0, 1.0]},
        "truth": {**movie, "key": "track_ids"},
    }
    with tempfile.TemporaryDirectory() as folder:
        places = {name: f"{folder}/{name}" for name in ("results", "work")}
        settings = {"samples": {"nuclei": sample}, **places, **STAINS["nuclei"], "track": {"method": method}}
        workflow = Workflow(settings, "bench-track")
        run_here(workflow, {name.partition(".")[0] for name in workflow.steps("nuclei")} - {"seams", "report"})
        scores = json.loads(workflow.plans["nuclei"].layout.tracking_scores.read_text(encoding="utf-8"))
    found: dict[str, float] = {k: scores["tracking"][k] for k in ("tra", "det", "division_f1")}
    print(f"| {method} | " + " | ".join(f"{value:.4f}" for value in found.values()) + " |", flush=True)
    return {name: round(value, 4) for name, value in found.items()}


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small crowd, to see that it runs")
    arguments = parser.parse_args()
    figures: dict[str, object] = dict(large(*((500, 21) if arguments.quick else (20_000, 100))))

    print("\n| movie | F1 of links | divisions | F1 of divisions | TRA | greedy: links | divisions | energy |")
    print("|---|---|---|---|---|---|---|---|")
    path = DATA / "timelapse" / "fluo_n2dh_sim_10f.h5"
    if path.exists():
        with h5py.File(path) as file:
            found = quality("simulated nuclei, true masks", simulated_nuclei(file["track_ids"][()]))
        figures |= {"sim_masks_tra": found["tra"], "sim_divisions_found": found["divisions"]}
    else:
        print(f"{path} is not on this machine: no figures of the simulated nuclei", file=sys.stderr)
    flat, deep = tissue(7), tissue(8, depth=48, size=48, cells=150, times=4)
    scores = [quality(f"dense tissue, {n}D", movie_of(*made)) for n, made in ((2, flat), (3, deep))]
    figures["synthetic_division_f1"] = min(score["f1"] for score in scores)
    for own, flow in itertools.product((0.1, 0.2), (0.3, 0.5)):
        quality(f"2D, flow {flow}, own steps {own} diameters", movie_of(*tissue(9, move=flow, own=own)))

    print("\n| joint choice, movie | window | context | junction | energy above the whole |\n|---|---|---|---|---|")
    figures["windowed_energy_gap"] = float(f"{windowed_gap():.3g}")
    figures |= joint_choice(*((100, 8) if arguments.quick else (1_000, 20)))
    if path.exists():
        print("\n| simulated nuclei from raw | TRA | DET | F1 of divisions |\n|---|---|---|---|")
        for method in ("program", "joint", "volume"):
            raw = from_raw(path, method)
            key = "sim_raw" if method == "program" else f"sim_raw_{method}"
            figures |= {f"{key}_tra": raw["tra"], f"{key}_division_f1": raw["division_f1"]}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
