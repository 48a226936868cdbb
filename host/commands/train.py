"""canopic train encoder: learn an encoder from a plan, or go on with one, and say how good it is meanwhile."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from host.commands.checks import OptionError, asked_device, check_out, check_torch
from host.commands.common import DONE, WRONG_INPUT, expected, out, print_json, say
from models.detector.archives import DataMissingError
from models.encoder.plan import EncoderPlan, PlanError, plan_file, read_plan
from models.encoder.rows import ROWS, plan_for_row

if TYPE_CHECKING:
    from models.encoder.alternate import Progress as Step

INTERRUPTED = 130


def train_encoder(
    plan: str,
    *,
    data: Path | None,
    directory: Path,
    seed: int | None = None,
    device: str = "cpu",
    as_json: bool = False,
) -> int:
    """Learn an encoder into `directory`.

    plan: a YAML file, a shipped plan's name, or a row of the paper's Table 1. What is there of the same plan goes on
    where it stopped. device: "cpu", "cuda" or "auto". Status 0: learned; 1: it could not go on; 2: plan, data or device
    are not what they should be; 130: interrupted (the same command goes on).
    """
    # What can be told without PyTorch comes first: importing it takes seconds.
    with expected(PlanError, DataMissingError, OptionError, status=WRONG_INPUT):
        settings = plan_for_row(plan) if plan in ROWS else read_plan(plan_file(plan))
        if seed is not None:
            settings = settings.model_copy(update={"seed": seed})
        if data is None:
            raise DataMissingError("an encoder learns from photographs; give the folder of the archives, --data DIR")
        check_out(directory)
        check_torch()
        where = asked_device(device)
    from models.encoder.alternate import LearningError, learn_chain
    from models.encoder.material import learning_material

    with (
        expected(PlanError, DataMissingError, status=WRONG_INPUT),
        expected(LearningError, OSError),
        _Watch(settings) as watch,
    ):
        try:
            material = learning_material(data, settings)
            learn_chain(settings, material, directory, watch.step, device=where)
        except KeyboardInterrupt:
            say("canopic: interrupted; the same command goes on where it stopped")
            return INTERRUPTED
    record = _record(directory)
    if as_json:
        print_json(record)
    else:
        out().print(cycles_table(record))
        out().print(_conclusion(record, directory))
    return DONE


class _Watch:
    """One bar on stderr: cycle, phase, and the numbers of the phase."""

    def __init__(self, plan: EncoderPlan) -> None:
        columns = (
            TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"), TimeElapsedColumn(), TimeRemainingColumn(),
        )  # fmt: skip
        self.bar = Progress(*columns, console=Console(stderr=True))
        self.task = self.bar.add_task("reading images", total=1, numbers="")
        self.phase: tuple[int, str] | None = None
        self.name = plan.name

    def __enter__(self) -> "_Watch":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def step(self, found: "Step") -> None:
        if (found.cycle, found.phase) != self.phase:
            self.phase = (found.cycle, found.phase)
            self.bar.reset(self.task, total=found.steps)
        numbers = ", ".join(f"{name} {value:.3g}" for name, value in found.numbers.items())
        what = f"{self.name}, cycle {found.cycle}/{found.cycles}, {found.phase}"
        self.bar.update(self.task, description=what, completed=found.step, total=found.steps, numbers=numbers)
        if found.phase == "judge" and found.step == found.steps:
            self.bar.console.print(f"{self.name}, cycle {found.cycle}: fresh networks, {numbers}")


def cycles_table(record: dict[str, Any]) -> Table:
    """The cycles of a learning.json as a table to read; the kept one is marked."""
    table = Table("cycle", "loss", "adversaries (identity)", "fresh: identity (95 %)", "fresh: face (95 %)", "bits")
    for entry in record["cycles"]:
        mark = " *" if entry["cycle"] == record["kept_cycle"] else ""
        known = [one for one in entry["adversaries"] if one["kind"] == "recognition"]
        table.add_row(
            f"{entry['cycle']}{mark}",
            f"{entry['encoder']['loss']:.3g}" if "encoder" in entry else "",
            ", ".join(f"{one['network']} {100 * one['accuracy']:.1f} %" for one in known),
            _share(entry.get("identity")),
            _share(entry.get("face")),
            f"{entry['bits']['per_measurement']:.0f}" if "bits" in entry else "",
        )
    return table


def _share(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    low, high = found["accuracy_95"]
    return f"{100 * found['accuracy']:.1f} % ({100 * low:.1f}..{100 * high:.1f})"


def _conclusion(record: dict[str, Any], directory: Path) -> str:
    entry = record["cycles"][record["kept_cycle"]]
    chance = entry["identity"]["chance"]
    parts = [f"* kept, in {directory}; chance: identity {100 * chance:.1f} %, face 50 %"]
    parts.append(f"identity over {entry['identity']['n']} images of {1 / chance:.0f} people")
    if "attackers" in entry["identity"]:
        parts.append(f"told apart best by the fresh attacker {entry['identity']['network']}")
    if entry["effective_levels"] is not None:
        parts.append(f"{entry['effective_levels']} effective levels")
    return "; ".join(parts) + ". These people were learned on: `canopic evaluate` says how private it is on others."


def _record(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "learning.json").read_text(encoding="utf-8"))
    return found
