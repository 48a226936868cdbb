"""How long a point of a sweep will take, roughly, before anything of it has been measured. Needs no torch."""

from models.encoder.plan import AdversaryPlan, EncoderPlan, NetworkPlan
from models.encoder.sweep import JudgePlan

# Seconds of processor time for one image through one training step, on one thread of the two-core machine that the
# project is developed on, for codes of 8 x 8 and networks of width 0.25. At twice the width they take three times as
# long, for codes of 4 x 4 a half to nine tenths.
SECONDS = {"small": 0.62e-3, "resnet18": 0.91e-3, "googlenet": 2.6e-3}
WIDTH = 0.25
ENCODER_S = 1.2e-3  # one image through one step of the encoder, without its adversaries
WINDOW_S = 10e-3  # one window of a scene made and measured; that of 224 x 288 px, as the next two
DETECTOR_S = 1.3e-3  # one window through one step of a detector of the default widths
ENCODER_WINDOW_S = 40e-3  # one window through one step of the encoder and the detector
LOOK_S = 0.9e-3  # one measurement of one crop while learning; the judge's take a third
START_S = 8.0  # a process with torch, and the archives
CELLS = 64  # of the codes that these were measured on


def rough_seconds(plan: EncoderPlan, judge: JudgePlan) -> float:
    """Seconds that learning and judging take on one thread, within a factor of about two."""
    material, schedule, choice = plan.material, plan.schedule, plan.choice
    people = material.most_people * material.most_images / 2
    both = (material.most_positives + material.most_negatives) * (2 if material.photographs else 1)
    images = people + both
    cells = (64 / plan.chain.pool) ** 2
    cycle = (
        images * schedule.looks * LOOK_S
        + _adversaries(plan.recognition, people, cells)
        + _adversaries(plan.detection, both, cells)
        + schedule.encoder_steps * schedule.batch * (ENCODER_S + _all(plan, cells))
    )
    chosen = people * choice.identity_epochs + both * choice.face_epochs
    cycle += chosen * _image(choice.network, cells) / choice.every
    first = 0.0
    if plan.scenes is not None:
        scenes = plan.scenes
        steps = scenes.detector_batch * DETECTOR_S
        cycle += (scenes.windows + scenes.apart) * WINDOW_S + scenes.steps * steps
        cycle += schedule.encoder_steps * scenes.batch * ENCODER_WINDOW_S
        first = (scenes.new_windows + scenes.apart) * WINDOW_S + scenes.new_steps * steps
    trained = judge.people * min(judge.most_training, 20), 2 * judge.faces_training
    judging = sum(trained) * judge.looks * LOOK_S / 3
    for network in judge.networks:
        judging += (trained[0] * judge.epochs + trained[1] * judge.face_epochs) * _image(network, cells)
    return START_S + first + schedule.cycles * cycle + judging


def _adversaries(plan: AdversaryPlan, images: float, cells: float) -> float:
    # Most cycles end early, once enough is right.
    return sum(images * plan.epochs * 0.7 * _image(network, cells) for network in plan.networks)


def _all(plan: EncoderPlan, cells: float) -> float:
    return sum(_image(one, cells) for one in (*plan.recognition.networks, *plan.detection.networks))


def _image(network: NetworkPlan, cells: float) -> float:
    larger = (cells / CELLS * network.upsample**2) ** (0.5 if cells < CELLS and network.upsample == 1 else 1)
    return float(SECONDS[network.network] * (network.width / WIDTH) ** 1.6 * larger)
