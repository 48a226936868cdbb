"""Where networks are trained: on the processor, or on a GPU where there is one. Needs torch.

What a network is trained to is the same for a seed on a processor's one thread. A GPU adds in other orders: its results
are other ones within their noise, and not the same twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

CPU, CUDA, AUTO = "cpu", "cuda", "auto"


class DeviceError(ValueError):
    """A device that is not to be had. The message says what torch sees and what to do."""


def chosen_device(word: str) -> str:
    """The device that "cpu", "cuda" or "auto" (a GPU where torch sees one) stands for: "cpu" or "cuda".

    Raises DeviceError for another word, and for "cuda" where torch sees no GPU.
    """
    if word not in (CPU, CUDA, AUTO):
        raise DeviceError(f"there is no device {word!r}; expected {CPU}, {CUDA} or {AUTO}")
    seen = torch.cuda.is_available()
    if word == AUTO:
        return CUDA if seen else CPU
    if word == CUDA and not seen:
        if torch.version.cuda is None and torch.version.hip is None:
            why = "is built for processors only: install a build for your GPU (pytorch.org/get-started)"
        else:
            why = "is built for GPUs and sees none: does nvidia-smi list one, and is it in CUDA_VISIBLE_DEVICES?"
        raise DeviceError(f"no GPU for the device cuda: PyTorch {torch.__version__} {why}. Or take cpu or auto")
    return word


@contextmanager
def own_random_state(device: str) -> Iterator[None]:
    """Gives torch's random state, on the processor and on `device`, back as it was."""
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if on_gpu(device) else []):
        yield


def random_state(device: str) -> dict[str, torch.Tensor]:
    """Torch's random state, for a checkpoint: "torch_rng" and, on a GPU, "gpu_rng"."""
    found = {"torch_rng": torch.get_rng_state()}
    return found | {"gpu_rng": torch.cuda.get_rng_state()} if on_gpu(device) else found


def restore_random_state(state: dict[str, torch.Tensor], device: str) -> None:
    """Back to `random_state`; of a GPU only where it was one."""
    torch.set_rng_state(state["torch_rng"])
    if on_gpu(device) and "gpu_rng" in state:
        torch.cuda.set_rng_state(state["gpu_rng"])


def on_gpu(device: str) -> bool:
    return torch.device(device).type == CUDA
