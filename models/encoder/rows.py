"""Every row of the CAnOPIC paper's Table 1 as a plan, with the settings that the paper and its code publish.

Tan et al., ICME 2020, Sec. 3.2 and Table 1 (DOI 10.1109/ICME46284.2020.9102956). Kernels are signed taps, thresholds
move freely, each image is stretched between its own minimum and maximum, and the images are sRGB values: none of that
is the default of a plan, because no mask and no board can do it.
"""

from typing import Any

from models.encoder.plan import EncoderPlan, PlanError, checked_plan

UNLEARNED = "unlearned"
# The privacy weights that the table has for each chain; none: there is nothing to learn.
ALPHAS: dict[str, tuple[int, ...]] = {
    "conv1_maxpool_quantize": (1, 50, 300),
    "conv4_maxpool_quantize": (1, 50),
    "conv1": (300,),
    "maxpool": (),
    "quantize": (300,),
    "conv1_maxpool": (300,),
    "conv1_quantize": (300,),
    "maxpool_quantize": (300,),
}
LEARNED_ROWS = tuple(f"{chain}_alpha{alpha}" for chain, alphas in ALPHAS.items() for alpha in alphas)
UNLEARNED_ROWS = tuple(f"{chain}_{UNLEARNED}" for chain in ALPHAS)
ROWS = (*LEARNED_ROWS, *UNLEARNED_ROWS)

KERNELS: dict[str, dict[str, Any]] = {
    "conv1": {"kernels": "signed", "start": {"form": "gaussian", "sigma_px": [8.0], "side_px": 63}},
    "conv4": {"kernels": "signed", "start": {"form": "halves", "side_px": 11}},
    "none": {"kernels": "none", "start": {"form": "none"}},
}


def plan_for_row(name: str) -> EncoderPlan:
    """The plan of a row: "conv1_maxpool_quantize_alpha50", "maxpool_quantize_unlearned", ... (`ROWS`).

    "maxpool", of which nothing can be learned, also goes by its bare name. Raises PlanError for a name that is none.
    """
    chain, _, last = (f"{name}_{UNLEARNED}" if name == "maxpool" else name).rpartition("_")
    if f"{chain}_{last}" not in ROWS:
        raise PlanError(f"{name!r} is no row of Table 1; expected one of {', '.join(ROWS)}")
    learned = last != UNLEARNED
    operations = chain.split("_")
    quantizes, pools = "quantize" in operations, "maxpool" in operations
    # Codes are upsampled to the size of the picture; without pooling they have it.
    upsample = 8 if pools else 1
    resnet = [{"network": "resnet18", "width": 1.0, "upsample": upsample}]
    adam = {"networks": resnet, "learning_rate": 1e-2, "weight_decay": 0.0, "falling": False}
    return checked_plan(
        {
            "name": name,
            "chain": {
                **KERNELS[operations[0] if operations[0] in KERNELS else "none"],
                "pool": 8 if pools else 1,
                "levels": 16 if quantizes else None,
                "range": "per_frame",
                "free_thresholds": quantizes,
                "light": "srgb",
                "thresholds": "even",
            },
            "privacy": {"alpha": float(last.removeprefix("alpha")) if learned else 0.0, "entropy_on": "people"},
            "schedule": {
                "cycles": 20 if learned else 0,
                "encoder_epochs": 10,
                "learning_rate": 1e-2,
                "slope": 5.0,
                "slope_rise": 5.0,
                "looks": 1,
            },
            "recognition": {**adam, "epochs": 100, "restart_below": 0.1},
            "detection": {**adam, "epochs": 10},
            "choice": {
                "network": {"network": "googlenet", "width": 1.0, "upsample": upsample},
                "people": None,
                "linear": False,
                "keep": "last",
                "every": 20,
            },
            "nuisance": {"on": False},
            "material": {"photographs": False},
        },
        name,
    )
