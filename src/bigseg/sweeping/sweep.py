"""A sweep from the configuration to the scores, with all that can be refused refused before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bigseg.config import read_settings
from bigseg.config.edit import with_values
from bigseg.errors import UserError, concerning
from bigseg.planning.workflow import Workflow
from bigseg.resume.files import replacing
from bigseg.sweeping.choices import KEYS, Choice, Values, make_choices, nested, value_of
from bigseg.sweeping.current import check_graph, graph_steps

if TYPE_CHECKING:
    from bigseg.kernels.scores import Scores


class Sweep:
    """The choices of a sweep and their scores.

    Attributes:
        choices: sets of parameters, each once.
        times: time points that are scored, by sample.
        configured: the values of all ``KEYS`` in the configuration as it is.
    """

    def __init__(
        self, path: Path, grids: Sequence[Values], *, by: str, sample: str | None = None, time: int | None = None
    ) -> None:
        """Read the configuration and see that everything is there.

        Args:
            path: the configuration.
            grids: values to try.
            by: score that decides.
            sample: the only sample to score; all that have a truth if left out.
            time: the only time point to score; all together if left out.

        Raises:
            UserError: a value or a name is wrong, there is no truth, or the graph is not there or out of date.
        """
        from bigseg.sweeping.ranking import MEASURES

        if by not in MEASURES:
            raise UserError(f"--by: {by!r} is no score to rank by", f"choose one of {', '.join(MEASURES)}")
        self._path = path
        settings = read_settings(path)
        self._workflow = Workflow(settings, str(path))
        self.times = _times(self._workflow, sample, time)
        plans = [self._workflow.plans[name] for name in self.times]
        self.choices = make_choices(settings, plans, grids, str(path))
        self.configured = {key: value_of(self._workflow.config, key) for key in KEYS}
        methods: dict[str, Choice] = {}
        for choice in self.choices:
            methods.setdefault(choice.config.partition.method, choice)
        checked: set[tuple[str, ...]] = set()
        for choice in methods.values():  # methods may need tables that others do not
            workflow = Workflow(choice.config.model_dump(), str(path))
            for name, times in self.times.items():
                graph = (name, *(step + workflow.parameters(step, name) for step in graph_steps(workflow, name)))
                for one in times if graph not in checked else ():
                    check_graph(workflow, str(path), name, one, self._workflow.config.partition.method)
                checked.add(graph)

    def scores(self, threads: int | None = None) -> list[Scores]:
        """The scores of each choice; ``threads`` are all cores if left out."""
        from bigseg.sweeping.scoring import score_choices
        from bigseg.threads import available_cores

        return score_choices(self._workflow, self.times, self.choices, threads or available_cores())

    def write(self, choice: Choice) -> bool:
        """Write what a choice changes into the configuration, whose comments stay; False if it changes nothing.

        Raises:
            UserError: the file is laid out so that this cannot be done, or cannot be written.
        """
        changes = {key: value for key, value in choice.parameters.items() if self.configured[key] != value}
        if changes:
            text = with_values(self._path.read_text(encoding="utf-8"), nested(changes))
            mode = self._path.stat().st_mode
            # What the path links to is replaced, so that a link stays one.
            with concerning("--write", "leave it out"), replacing(self._path.resolve()) as temporary:
                temporary.write_text(text, encoding="utf-8")
                temporary.chmod(mode)
        return bool(changes)


def _times(workflow: Workflow, sample: str | None, time: int | None) -> dict[str, tuple[int, ...]]:
    """The time points to score of each sample.

    Raises:
        UserError: there is no such sample or time point, or no truth.
    """
    plans = workflow.plans
    if sample is not None and sample not in plans:
        raise UserError(f"--sample: there is no {sample!r}", f"samples are {', '.join(plans)}")
    given = [name for name in (plans if sample is None else [sample]) if plans[name].sample.segmentation is not None]
    if given:
        raise UserError(
            f"samples.{given[0]}.segmentation: is given, so there are no parameters of a segmentation to try",
            "name another sample with --sample, or leave the segmentation out to make one from the image; "
            "`bigseg evaluate` scores the one that is given",
        )
    with_truth = [name for name, plan in plans.items() if plan.sample.truth is not None]
    chosen = with_truth if sample is None else [sample]
    if not chosen or (sample is not None and sample not in with_truth):
        name = sample or next(iter(plans))
        raise UserError(
            f"samples.{name}.truth: is missing, and without a truth there is nothing to score",
            "add a label volume of the image's shape, if only of a part that was cut out as a sample of its own",
        )
    times = {name: tuple(t for t in plans[name].times if time in (None, t)) for name in chosen}
    times = {name: found for name, found in times.items() if found}
    if not times:
        found = sorted({t for name in chosen for t in plans[name].times})
        raise UserError(f"--time: there is no time point {time}", f"there are {', '.join(map(str, found))}")
    return times
