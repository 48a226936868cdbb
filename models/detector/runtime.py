"""The shipped detector at work: ONNX bytes and codes in, faces out. No torch here; this is what runs on a Pi."""

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from models.detector.decode import Faces, decode

HIGHEST_CODE = 15
INPUT = "codes"
OUTPUTS = ("heat", "box")


class ModelError(Exception):
    """The model cannot be used: it is damaged, or was made for another encoding or another sensor."""


class FaceDetector:
    """Counts faces in codes.

    onnx: the model's bytes, as a bundle holds them. metadata: the bundle's entry for this model; `score_threshold` is
    taken from it unless given, and its `encoding_id` must be `encoding_id` where both are given. threads: its own.
    pool_px: sensor pixels per cell side of the encoding, which the boxes are measured by.

    Raises ModelError when the bytes are no such model, the score threshold is missing, or the encoding is another.
    """

    def __init__(
        self,
        onnx: bytes,
        threads: int = 1,
        *,
        metadata: dict[str, object] | None = None,
        encoding_id: str | None = None,
        score_threshold: float | None = None,
        pool_px: int = 8,
    ) -> None:
        metadata = metadata or {}
        trained_for = metadata.get("encoding_id")
        if encoding_id is not None and trained_for is not None and trained_for != encoding_id:
            raise ModelError(
                f"the detector was trained for encoding {str(trained_for)[:16]}, the encoding is {encoding_id[:16]}. "
                "Train it for this encoding (python -m models.detector.train) or take the bundle it came with."
            )
        threshold = metadata.get("score_threshold") if score_threshold is None else score_threshold
        if not isinstance(threshold, int | float) or isinstance(threshold, bool) or not 0 < threshold < 1:
            raise ModelError(f"score_threshold must be a number between 0 and 1, got {threshold!r}")
        self.score_threshold = float(threshold)
        self._pool_px = pool_px
        self._session = _session(onnx, threads)
        self.shape = _input_shape(self._session)

    def detect(self, codes: NDArray[np.uint8]) -> Faces:
        """Faces in one measurement.

        codes: uint8 of shape `self.shape`, (60, 80, 3) for the default bundle, each 0..15. Boxes are in pixels of the
        sensor plane (`pool_px` per cell); they may reach a little beyond it.
        Raises TypeError for another dtype, ValueError for another shape or a code above 15.
        """
        if not isinstance(codes, np.ndarray) or codes.dtype != np.uint8:
            raise TypeError(f"codes must be a uint8 array, got {getattr(codes, 'dtype', type(codes).__name__)}")
        if codes.shape != self.shape:
            raise ValueError(
                f"codes must have the shape {self.shape} that the detector was trained for, got {codes.shape}"
            )
        if codes.max() > HIGHEST_CODE:
            raise ValueError(f"codes must be 0..{HIGHEST_CODE}, got {codes.max()}: are they still packed two per byte?")
        heat, box = self._session.run(list(OUTPUTS), {INPUT: codes[None]})
        return decode(heat, box, self.score_threshold, self._pool_px)


def _session(onnx: bytes, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Arena and pattern trade memory for speed that a fixed-shape model of this size does not need.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except (ort.capi.onnxruntime_pybind11_state.InvalidProtobuf, ort.capi.onnxruntime_pybind11_state.Fail) as error:
        raise ModelError(f"the detector is not a readable ONNX model ({error}); fetch the bundle again") from error


def _input_shape(session: ort.InferenceSession) -> tuple[int, int, int]:
    inputs, outputs = session.get_inputs(), tuple(output.name for output in session.get_outputs())
    if [one.name for one in inputs] != [INPUT] or outputs != OUTPUTS:
        names = [one.name for one in inputs]
        raise ModelError(
            f"the detector must take {[INPUT]} and give {list(OUTPUTS)}, it takes {names}, gives {list(outputs)}"
        )
    shape = inputs[0].shape
    if len(shape) != 4 or shape[0] != 1 or not all(isinstance(side, int) for side in shape):
        raise ModelError(f"the detector's input must have a fixed shape (1, rows, columns, channels), it has {shape}")
    return (shape[1], shape[2], shape[3])
