"""Files of a learning: a checkpoint that says whose it is, written whole or not at all. Needs torch."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from models.encoder.chain import Chain
from models.encoder.height import HeightKernels
from models.encoder.plan import EncoderPlan, PlanError
from optics.mask import write_mask
from optics.whole_file import whole_file


def write_checkpoint(path: Path, plan: EncoderPlan, digest: str, state: dict[str, Any]) -> None:
    """`state` (tensors and plain values) with the plan and the material's digest that it belongs to."""
    whole = {"plan": plan.model_dump_json(), "material": digest, **state}
    with whole_file(path) as partial:
        torch.save(whole, partial)


def read_checkpoint(path: Path, plan: EncoderPlan, digest: str) -> dict[str, Any] | None:
    """The state in the checkpoint, on the processor wherever it was written, None where there is none. Raises PlanError
    where it belongs to something else."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    differing = _differing(_with_defaults(json.loads(state["plan"])), json.loads(plan.model_dump_json()))
    if differing:
        raise PlanError(
            f"{path} was begun with another plan (differing: {', '.join(differing)}); give that plan to go on with it, "
            "or another folder to start anew"
        )
    if state["material"] != digest:
        raise PlanError(f"{path} was begun with other images; give the same data, or another folder to start anew")
    return state


def write_chain(folder: Path, chain: Chain) -> None:
    """encoding.npz, as `models.encoding_file.read_encoding` takes it, or chain.npz without quantization.

    Where a mask was learned also mask_0.npz, mask_1.npz, ..., one for each filter, as `optics.mask.read_mask` takes
    them; of pairs mask_0_plus.npz, mask_0_minus.npz, ...
    """
    settings = chain.settings
    arrays = {"pool": np.array(settings.pool), "range": np.array(settings.range), "light": np.array(settings.light)}
    if settings.levels is None:
        arrays["kernels"] = chain.kernels().detach().cpu().numpy().astype(np.float32)
    else:
        encoding = chain.export()
        arrays |= {"kernels": encoding.kernels, "thresholds": encoding.thresholds}
    path = folder / ("chain.npz" if settings.levels is None else "encoding.npz")
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    if isinstance(chain.kernels, HeightKernels):
        for name, mask in zip(chain.kernels.names, chain.kernels.masks(), strict=True):
            write_mask(mask, folder / f"{name}.npz")


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in ("canopic", "torch", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """A plan as it would be written today: settings that came later as they were while there was no choice."""
    earlier = {"people": None, "linear": False} | values.get("choice", {})
    try:
        return EncoderPlan.model_validate_json(json.dumps(values | {"choice": earlier})).model_dump(mode="json")
    except ValidationError:
        return values


def _differing(one: dict[str, Any], other: dict[str, Any], above: str = "") -> list[str]:
    found = []
    for key in sorted({*one, *other}):
        mine, yours = one.get(key), other.get(key)
        if isinstance(mine, dict) and isinstance(yours, dict):
            found += _differing(mine, yours, f"{above}{key}.")
        elif mine != yours:
            found.append(above + key)
    return found
