"""canopic train paper: reruns Table 1 and Fig. 6 of the CAnOPIC paper on the original data sets."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from host.commands.checks import OptionError, asked_device, check_out, check_torch
from host.commands.common import DONE, WRONG_INPUT, expected, out, print_json, say
from models.datasets.files import AnnotationError
from models.detector.archives import DataMissingError
from models.encoder.paper_config import PaperError, PaperPlan, read_paper_plan
from models.encoder.plan import PlanError

INTERRUPTED = 130


def rerun_paper(config: Path, *, device: str = "cpu", as_json: bool) -> int:
    """Learn, attack and compare all that `config` asks for and is not there yet; print Table 1. Status 0: all of it is
    done, 1: a step failed, 2: the configuration or a data set is not what it should be, 130: interrupted (the same
    command goes on). device: "cpu", "cuda" or "auto", for Table 1; the detectors of Fig. 6 learn on the processor."""
    try:
        with expected(PaperError, PlanError, DataMissingError, AnnotationError, OptionError, status=WRONG_INPUT):
            where = asked_device(device)
            plan = read_paper_plan(config)
            check_out(Path(plan.out), f"{config}: out:")
            check_torch()
            table, figure = _rerun(plan, where)
    except KeyboardInterrupt:
        say("canopic: interrupted; the same command goes on where it stopped")
        return INTERRUPTED
    _tell(table, figure, Path(plan.out), as_json)
    return DONE


def _rerun(plan: PaperPlan, device: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Table 1, and Fig. 6 where it is asked for."""
    from models.encoder.alternate import LearningError
    from models.encoder.paper import rerun_table
    from models.encoder.paper_data import PaperData
    from models.encoder.paper_detection import rerun_figure

    with expected(LearningError, OSError), _bar() as bar:
        report = _Reporter(bar)
        data = PaperData(plan, report)
        return rerun_table(plan, data, report, device), rerun_figure(plan, data, report)


def _bar() -> Progress:
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    return Progress(*columns, console=Console(stderr=True))


class _Reporter:
    """Shows one bar: what is being done now."""

    def __init__(self, bar: Progress) -> None:
        self.bar, self.task, self.what = bar, bar.add_task("", total=None), ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self.what:
            self.what = what
            self.bar.reset(self.task, description=what, total=total)
        self.bar.update(self.task, completed=done, total=total)


def _tell(table: dict[str, Any], figure: dict[str, Any] | None, folder: Path, as_json: bool) -> None:
    if as_json:
        print_json({"table1": table, "fig6": figure})
        return
    out().print((folder / "table1.md").read_text(encoding="utf-8"))
    files = ["table1.json", "table1.md"] + ([] if figure is None else ["roc.json", "fig6.png"])
    say(f"canopic: written to {folder}: {', '.join(files)}")
