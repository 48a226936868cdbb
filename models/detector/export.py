"""From trained weights to the ONNX file that ships: fixed shapes, int8, checked against torch. Needs torch and onnx."""

import io
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from models.detector.network import OUTPUTS, FaceNetwork

INPUT = "codes"


class Shipped(nn.Module):
    """The network as it ships: uint8 codes (1, rows, columns, channels) in; heat (rows, columns) as a probability and
    box (4, rows, columns) out."""

    def __init__(self, network: FaceNetwork, full_scale: float = 15.0) -> None:
        super().__init__()
        self.network = network
        self.full_scale = full_scale

    def forward(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        heat, box = self.network(codes.to(torch.float32).permute(0, 3, 1, 2) / self.full_scale)
        return torch.sigmoid(heat)[0, 0], box[0]


def export_float(network: FaceNetwork, shape: tuple[int, int, int], full_scale: float = 15.0) -> bytes:
    """The network as float32 ONNX for codes uint8 (1, *shape); batch normalisation is folded into the convolutions."""
    example = torch.from_numpy(np.random.default_rng(0).integers(0, 16, (1, *shape), np.uint8))
    program = torch.onnx.export(
        Shipped(network, full_scale).eval(),
        (example,),
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        opset_version=18,
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    file = io.BytesIO()
    onnx.save(without_traces(program.model_proto), file)
    return file.getvalue()


def without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` without the exporter's notes: stack traces that name files of the machine it was trained on."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    return model


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, codes: NDArray[np.uint8]) -> None:
        self._rest = iter(codes)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        codes = next(self._rest, None)
        return None if codes is None else {INPUT: codes[None]}


def quantized(model: bytes, codes: NDArray[np.uint8]) -> bytes:
    """`model` with its convolutions in int8 (QDQ, one scale per output channel), calibrated on codes uint8 (n, rows,
    columns, channels). The last layers, which give the heat map and the boxes, stay float32: they are 0.5 % of the work
    and carry the positions."""
    graph = onnx.load_from_string(model)
    last = [node.name for node in graph.graph.node if node.op_type == "Conv" and _leads_out(graph, node)]
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, result = (Path(folder) / name for name in ("float.onnx", "prepared.onnx", "int8.onnx"))
        source.write_bytes(model)
        # Symbolic shape inference fails on Resize; the fixed shapes make it needless.
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            result,
            _Calibration(codes),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            op_types_to_quantize=["Conv", "Add", "Resize", "Relu"],
            nodes_to_exclude=last,
        )
        return result.read_bytes()


def _leads_out(graph: onnx.ModelProto, conv: onnx.NodeProto) -> bool:
    """Whether no further convolution follows `conv`."""
    reached = set(conv.output)
    for node in graph.graph.node:
        if reached & set(node.input):
            if node.op_type == "Conv":
                return False
            reached |= set(node.output)
    return True


def answers(model: bytes, codes: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What an ONNX model says: heat float32 (n, rows, columns), box (n, 4, rows, columns) for codes uint8 (n, ...)."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found = [session.run(list(OUTPUTS), {INPUT: one[None]}) for one in codes]
    return np.stack([heat for heat, _ in found]), np.stack([box for _, box in found])


def network_answers(
    network: FaceNetwork, codes: NDArray[np.uint8], full_scale: float = 15.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the torch network says, in the form of `answers`."""
    shipped = Shipped(network, full_scale).eval()
    with torch.no_grad():
        found = [shipped(torch.from_numpy(one[None])) for one in codes]
    return np.stack([heat.numpy() for heat, _ in found]), np.stack([box.numpy() for _, box in found])
