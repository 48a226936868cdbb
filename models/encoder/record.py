"""learning.json: the plan, what it was learned from, every cycle's numbers, and what they depend on. Needs torch."""

from typing import Any

from models.encoder.chain import Chain
from models.encoder.checkpoint import versions
from models.encoder.height import HeightKernels
from models.encoder.height_masks import mask_reports
from models.encoder.material import LearningMaterial
from models.encoder.plan import EncoderPlan
from models.encoder.start import start_digest


def learning_record(
    plan: EncoderPlan,
    material: LearningMaterial,
    digest: str,
    cycles: list[dict[str, Any]],
    kept: Chain,
    kept_cycle: int,
    finished: bool,
) -> dict[str, Any]:
    """All that is known about a learning, as a JSON object.

    digest: the material's. cycles: one entry for each, with what fresh networks say ("identity", "face", "bits"), the
    adversaries' accuracies, the encoder's mean loss and its parts, and the seconds that each phase took. Accuracies
    come with n, a 95 % interval and chance. kept: the chain of `kept_cycle`. Where a mask's heights were learned and it
    is finished, "masks" says what they are.
    """
    quantizes = plan.chain.levels is not None
    record = {
        "plan": plan.model_dump(mode="json"),
        "kept_cycle": kept_cycle,
        "finished": finished,
        "encoding_id": kept.export().id if quantizes else None,
        "material": {"counts": material.counts(), "sha256": digest, "archives": material.digests},
        "start_sha256": start_digest(plan.chain.start),
        "cycles": cycles,
        "seconds": round(sum(sum(entry["seconds"].values()) for entry in cycles), 1),
        "versions": versions(),
    }
    if finished and quantizes and isinstance(kept.kernels, HeightKernels):
        record["masks"] = mask_reports(
            kept.kernels.masks(), kept.export(), kept.kernels.plan.haze, kept.kernels.shares()
        )
    return record
