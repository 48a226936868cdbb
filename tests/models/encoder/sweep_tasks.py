"""What the tests of sweeps hand to workers, in a file that workers can import quickly."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

ATTACKER = {"balanced": 0.2, "per_person": [0.1, 0.3], "accuracy": 0.2, "n": 40}


def told(plan: Any, judge: Any, data: Path, folder: Path) -> dict[str, Any]:
    """Does at once what the name of alpha's value says (see `WHAT`), and notes each time it is called."""
    assert data.is_dir()
    with (folder / "calls").open("a") as file:
        file.write(f"{os.getpid()}\n")
    alpha = plan.privacy.alpha
    if alpha == WHAT["broken"]:
        raise ValueError("the encoder melted")
    if alpha == WHAT["dies once"] and len((folder / "calls").read_text().split()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if alpha == WHAT["dies always"]:
        os._exit(3)
    if alpha == WHAT["waits"]:
        (folder / "progress.json").write_text(json.dumps({"cycle": 1, "stage": "waiting"}))
        if not (folder / "go").exists():
            time.sleep(600)
    print("said by the worker")  # noqa: T201 - goes to its log
    return {
        "judge": judge.model_dump(mode="json"),
        "effective_levels": 4,
        "data_sha256": {},
        "bits": {"per_measurement": 10.0 + alpha, "per_code": 1.0},
        "identity": {"people": 2, "chance": 0.5, "n": 40, "attackers": {"small": ATTACKER}},
        "face": {"chance": 0.5, "n": 40, "attackers": {"small": {"accuracy": 0.6 + alpha / 100, "n": 40}}},
    }


WHAT = {"fine": 1.0, "fine too": 2.0, "broken": 3.0, "dies once": 4.0, "dies always": 5.0, "waits": 6.0}
