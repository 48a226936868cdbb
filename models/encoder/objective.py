"""What the encoder descends on: cross-entropy(detection) - alpha * entropy(recognition), and bits. Needs torch.

Equation 1 of Tan et al., "CAnOPIC", ICME 2020 (par.nsf.gov/biblio/10217888), with several networks of either kind and
a price for bits above a budget. Entropies and cross-entropies are in nats.
"""

from itertools import islice
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.detector.network import FaceNetwork
from models.encoder.adversaries import answers, entropy
from models.encoder.bits import soft_bits
from models.encoder.chain import Chain, Nuisance
from models.encoder.looks import light_of, scaled, soft_codes, varied_crops
from models.encoder.material import LearningMaterial
from models.encoder.plan import EncoderPlan
from models.encoder.scene_detection import scene_camera, scene_loss
from models.encoder.scene_windows import cut_windows, margin_px, training_scenes

PARTS = ("loss", "detection", "entropy", "bits", "scenes")


def encoder_loss(
    chain: Chain,
    networks: dict[str, nn.Module],
    plan: EncoderPlan,
    material: LearningMaterial,
    slope: float,
    nuisance: Nuisance | None,
    rng: np.random.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """The loss on a random batch, with gradients to the chain, and its parts as numbers (`PARTS`).

    Half of the batch are faces: of the people, and as many of others. Entropy needs no label, so it counts on all of
    them; what a network is sure of on faces that it has not learned by heart is what it would be sure of tomorrow.
    With `privacy.entropy_on: people` it counts on the network's own people alone, as published.
    networks: "recognition 0", ..., "detection 0", ..., as many as the plan has, on the chain's device; where it
    asks for scenes also "scenes", whose loss on windows is added (`models.encoder.scene_detection.scene_loss`).
    """
    count = plan.schedule.batch // 2
    known = count if len(material.positives) == 0 else count - count // 2
    drawn = ((material.faces, known), (material.positives, count - known), (material.negatives, count))
    crops = np.concatenate([images[rng.integers(len(images), size=size)] for images, size in drawn if size])
    images = light_of(varied_crops(crops, plan.chain.pool, rng), plan.chain.light, chain.device)
    through = plan.schedule.straight_through
    codes, cells = soft_codes(chain, images, slope, nuisance, rng, through)
    values = scaled(codes, chain)
    goals = torch.tensor([1] * count + [0] * count).to(chain.device)
    detections = [
        functional.cross_entropy(answers(networks[f"detection {number}"], network, values), goals)
        for number, network in enumerate(plan.detection.networks)
    ]
    detection = torch.stack(detections).mean()
    loss, unsure, bits, scenes = detection, torch.zeros(()), torch.zeros(()), torch.zeros(())
    if plan.scenes is not None and material.scenes is not None:
        margin = margin_px(plan.chain.start.side_px, plan.chain.pool)
        some = islice(training_scenes(material.scenes, rng), plan.scenes.batch)
        windows = cut_windows(some, plan.scenes.window_px, margin, rng)
        network = cast(FaceNetwork, networks["scenes"])
        scenes = scene_loss(chain, network, windows, slope, scene_camera(plan), rng, through)
        loss = plan.scenes.crops_weight * loss + plan.scenes.weight * scenes
    if plan.privacy.alpha > 0:
        asked = values[: known if plan.privacy.entropy_on == "people" else count]
        entropies = [
            entropy(answers(networks[f"recognition {number}"], network, asked))
            for number, network in enumerate(plan.recognition.networks)
        ]
        found = torch.stack(entropies)
        unsure = found.min() if plan.privacy.entropy == "worst" else found.mean()
        loss = loss - plan.privacy.alpha * unsure
    if plan.privacy.bits_budget is not None and plan.chain.levels is not None:
        bits = soft_bits(cells[:count], chain.thresholds(), slope, through)
        loss = loss + plan.privacy.bits_weight * functional.relu(bits - plan.privacy.bits_budget)
    parts = (loss, detection, unsure, bits, scenes)
    return loss, dict(zip(PARTS, (part.item() for part in parts), strict=True))
