"""Convert MediaPipe's face models to ONNX: rewrites src/liveportrait_talker/face/models/*.onnx.

    pip install onnx tflite
    python scripts/convert_face_models.py mediapipe-0.10.21-*.whl           # or the folder of the installed package
    python scripts/convert_face_models.py mediapipe-0.10.21-*.whl --check   # compare instead of writing

The package contains the output, so that users need not run this. The output is reproducible byte for byte.
src/liveportrait_talker/face/models/README.md lists the changes to the models.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tflite
from onnx import TensorProto, helper

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "src" / "liveportrait_talker" / "face" / "models"
MODULES = "mediapipe/modules"

_FLOAT32, _FLOAT16, _INT32 = tflite.TensorType.FLOAT32, tflite.TensorType.FLOAT16, tflite.TensorType.INT32
_DTYPES = {_FLOAT32: np.float32, _FLOAT16: np.float16, _INT32: np.int32}
_OPERATORS = {number: name for name, number in vars(tflite.BuiltinOperator).items() if isinstance(number, int)}
_ACTIVATIONS = {None: None, tflite.ActivationFunctionType.NONE: None, tflite.ActivationFunctionType.RELU: "Relu"}
_OPSET = 14

# ONNX model → (TFLite file, input tensors, output tensors); TFLite tensor name → ONNX name, in order.
# The attention mesh samples its features at computed positions with custom operations, which OpenCV 4 cannot run. The
# network is split there; `face.mesh` implements the sampling and the transforms.
_ATTENTION_MESH = "face_landmark/face_landmark_with_attention.tflite"
_MODELS: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {
    "face_detection_short_range": (
        "face_detection/face_detection_short_range.tflite",
        {"input": "image"},
        {"regressors": "boxes", "classificators": "scores"},
    ),
    "face_detection_full_range": (
        "face_detection/face_detection_full_range_sparse.tflite",
        {"input_1": "image"},
        {"Identity": "boxes", "Identity_1": "scores"},
    ),
    "face_mesh": (
        _ATTENTION_MESH,
        {"input_1": "image"},
        {"output_mesh_identity": "landmarks", "conv_faceflag": "presence", "p_re_lu_3": "features"},
    ),
    "face_mesh_lips": (
        _ATTENTION_MESH,
        {"transform_tensor_bilinear_v2": "features"},
        {"conv_lips": "landmarks"},
    ),
    # Left is the image's in the TFLite model, the subject's in the ONNX models.
    "face_mesh_right_eye": (
        _ATTENTION_MESH,
        {"transform_tensor_bilinear_v2_1": "features"},
        {"conv_left_eye": "landmarks", "conv_left_iris": "iris"},
    ),
    "face_mesh_left_eye": (
        _ATTENTION_MESH,
        {"transform_tensor_bilinear_v2_2": "features"},
        {"conv_right_eye": "landmarks", "conv_right_iris": "iris"},
    ),
    "selfie_segmentation": (
        "selfie_segmentation/selfie_segmentation.tflite",
        {"input_1": "image"},
        {"activation_10": "person"},
    ),
}


def main() -> int:
    """Write or compare the models; return 1 if they differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="wheel of mediapipe 0.10.21, or its folder 'mediapipe'")
    parser.add_argument("--check", action="store_true", help="compare with the files of the package instead of writing")
    options = parser.parse_args()
    differing = []
    for name, content in convert_all(options.source).items():
        path = MODELS / name
        if options.check:
            if path.read_bytes() != content:
                differing.append(name)
        else:
            path.write_bytes(content)
            print(f"{path}: {len(content):,} bytes")
    if differing:
        print(f"different from the package: {', '.join(differing)}", file=sys.stderr)
    return 1 if differing else 0


def convert_all(source: Path) -> dict[str, bytes]:
    """Return file name → content of all ONNX models, converted from a MediaPipe wheel or folder."""
    return {
        f"{name}.onnx": Converter(_read(source, path)).convert(name, inputs, outputs)
        for name, (path, inputs, outputs) in _MODELS.items()
    }


def _read(source: Path, path: str) -> bytes:
    if source.is_dir():
        return (source / "modules" / path).read_bytes()
    with zipfile.ZipFile(source) as wheel:
        return wheel.read(f"{MODULES}/{path}")


class Converter:
    """Converts one TFLite model, channels last, to ONNX, channels first; supports the operations of these models."""

    def __init__(self, content: bytes) -> None:
        self._model: Any = tflite.Model.GetRootAs(content, 0)
        self._graph: Any = self._model.Subgraphs(0)
        self._constants: dict[int, np.ndarray] = {}
        self._nodes: list[Any] = []
        self._weights: dict[str, np.ndarray] = {}
        self._names: dict[int, str] = {}
        self._pads: dict[int, tuple[int, list[int]]] = {}  # output of PAD → (input, spatial pads)

    def convert(self, name: str, inputs: dict[str, str], outputs: dict[str, str]) -> bytes:
        """Return the part of the network between the given tensors as serialised ONNX.

        Tensors with a channel axis become (1, C, H, W); reshaped ones keep their shape.
        """
        graph = self._graph
        by_name = {graph.Tensors(i).Name().decode(): i for i in range(graph.TensorsLength())}
        operators = [graph.Operators(k) for k in range(graph.OperatorsLength())]
        for operator in operators:
            self._fold_constant(operator)
        first, last = [by_name[n] for n in inputs], [by_name[n] for n in outputs]
        self._names.update(zip(first + last, [*inputs.values(), *outputs.values()], strict=True))
        for operator in self._needed(operators, first, last):
            self._convert_operator(operator)
        proto = helper.make_graph(
            self._nodes,
            name,
            [self._value_info(t) for t in first],
            [self._value_info(t) for t in last],
            [
                helper.make_tensor(
                    key, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape, value.tobytes(), raw=True
                )
                for key, value in self._weights.items()
            ],
        )
        model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
        return bytes(model.SerializeToString(deterministic=True))

    def _value_info(self, tensor: int) -> Any:
        shape = self._shape(tensor)
        if len(shape) == 4:
            shape = (shape[0], shape[3], shape[1], shape[2])
        return helper.make_tensor_value_info(self._names[tensor], TensorProto.FLOAT, shape)

    def _needed(self, operators: list[Any], first: Iterable[int], last: Iterable[int]) -> list[Any]:
        """Return the operators between `first` and `last`, in file order, without those on constants."""
        wanted, chosen = set(last), []
        for operator in reversed(operators):
            outputs = [int(t) for t in operator.OutputsAsNumpy()]
            if outputs[0] in self._constants or not wanted & set(outputs) - set(first):
                continue
            chosen.append(operator)
            wanted |= {int(t) for t in operator.InputsAsNumpy()} - set(first)
        return chosen[::-1]

    def _operator_name(self, operator: Any) -> str:
        code = self._model.OperatorCodes(operator.OpcodeIndex())
        name = _OPERATORS[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        return code.CustomCode().decode() if name == "CUSTOM" else name

    def _shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(int(n) for n in self._graph.Tensors(tensor).ShapeAsNumpy())

    def _constant(self, tensor: int) -> np.ndarray:
        if tensor not in self._constants:
            info = self._graph.Tensors(tensor)
            data = self._model.Buffers(info.Buffer()).DataAsNumpy()
            assert not isinstance(data, int), f"{info.Name()} is not constant"
            values = np.frombuffer(data.tobytes(), _DTYPES[info.Type()])
            shape = self._shape(tensor)
            self._constants[tensor] = (
                _densify(values, info.Sparsity(), shape) if info.Sparsity() else values.reshape(shape)
            )
        return self._constants[tensor]

    def _fold_constant(self, operator: Any) -> None:
        """Evaluate DEQUANTIZE (float16) and DENSIFY of weights. float16 values stay float16."""
        if self._operator_name(operator) in ("DEQUANTIZE", "DENSIFY"):
            self._constants[int(operator.Outputs(0))] = self._constant(int(operator.Inputs(0)))

    def _convert_operator(self, operator: Any) -> None:
        name = self._operator_name(operator)
        converters: dict[str, Callable[[Any, list[int], int], None]] = {
            "CONV_2D": self._convolution,
            "DEPTHWISE_CONV_2D": self._depthwise_convolution,
            "Convolution2DTransposeBias": self._transposed_convolution,
            "PRELU": self._prelu,
            "PAD": self._pad,
            "MAX_POOL_2D": self._pooling("MaxPool"),
            "AVERAGE_POOL_2D": self._pooling("AveragePool"),
            "RESIZE_BILINEAR": self._resize,
            "DEPTH_TO_SPACE": self._depth_to_space,
            "RESHAPE": self._reshape,
            "CONCATENATION": self._concatenation,
            "STRIDED_SLICE": self._identity,
            "ADD": self._elementwise("Add", tflite.AddOptions),
            "MUL": self._elementwise("Mul", tflite.MulOptions),
            "RELU": self._elementwise("Relu"),
            "LOGISTIC": self._elementwise("Sigmoid"),
            "HARD_SWISH": self._elementwise("HardSwish"),
        }
        converters[name](operator, [int(t) for t in operator.InputsAsNumpy()], int(operator.Outputs(0)))

    # Nodes and weights

    def _name(self, tensor: int) -> str:
        if tensor not in self._names:
            self._names[tensor] = f"t{tensor}"
        return self._names[tensor]

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))

    def _weight(self, key: str, values: np.ndarray) -> str:
        self._weights[key] = np.ascontiguousarray(values)
        return key

    def _node_with_activation(
        self, kind: str, inputs: list[str], output: int, activation: int | None, **attributes: Any
    ) -> None:
        """Add a node and the activation that is fused into it in TFLite."""
        after = _ACTIVATIONS[activation]
        name = self._name(output)
        self._node(kind, inputs, f"{name}.linear" if after else name, **attributes)
        if after:
            self._node(after, [f"{name}.linear"], name)

    # Operations

    def _convolution(self, operator: Any, inputs: list[int], output: int) -> None:
        options = _options(operator, tflite.Conv2DOptions)
        kernel = self._constant(inputs[1]).transpose(0, 3, 1, 2)  # (out, height, width, in) → (out, in, height, width)
        self._convolve(inputs, output, options, kernel, group=1)

    def _depthwise_convolution(self, operator: Any, inputs: list[int], output: int) -> None:
        options = _options(operator, tflite.DepthwiseConv2DOptions)
        assert options.DepthMultiplier() == 1
        kernel = self._constant(inputs[1]).transpose(3, 0, 1, 2)  # (1, height, width, C) → (C, 1, height, width)
        self._convolve(inputs, output, options, kernel, group=len(kernel))

    def _convolve(self, inputs: list[int], output: int, options: Any, kernel: np.ndarray, group: int) -> None:
        assert options.DilationHFactor() == options.DilationWFactor() == 1
        source, pads = self._pads.get(inputs[0], (inputs[0], None))
        if pads is None:
            pads = _same_padding(self._shape(source), self._shape(output), kernel.shape[2:], options)
        name = self._name(output)
        weights = [self._weight(f"{name}.weight", kernel), self._weight(f"{name}.bias", self._constant(inputs[2]))]
        self._node_with_activation(
            "Conv",
            [self._name(source), *weights],
            output,
            options.FusedActivationFunction(),
            group=group,
            kernel_shape=list(kernel.shape[2:]),
            pads=pads,
            strides=[options.StrideH(), options.StrideW()],
        )

    def _transposed_convolution(self, operator: Any, inputs: list[int], output: int) -> None:
        """Convert a transposed convolution with kernel 2×2 and stride 2: outputs do not overlap, no padding."""
        kernel = self._constant(inputs[1])  # (out, height, width, in)
        (_, height, width, _), (_, out_height, out_width, _) = self._shape(inputs[0]), self._shape(output)
        assert kernel.shape[1:3] == (2, 2) and (out_height, out_width) == (2 * height, 2 * width)
        name = self._name(output)
        weights = [
            self._weight(f"{name}.weight", kernel.transpose(3, 0, 1, 2)),
            self._weight(f"{name}.bias", self._constant(inputs[2])),
        ]
        self._node(
            "ConvTranspose", [self._name(inputs[0]), *weights], name, kernel_shape=[2, 2], strides=[2, 2], group=1
        )

    def _prelu(self, operator: Any, inputs: list[int], output: int) -> None:
        name = self._name(output)
        slope = self._constant(inputs[1])
        assert slope.shape[:2] == (1, 1)
        self._node("PRelu", [self._name(inputs[0]), self._weight(f"{name}.slope", slope.reshape(-1, 1, 1))], name)

    def _pad(self, operator: Any, inputs: list[int], output: int) -> None:
        (_, _), (top, bottom), (left, right), (before, behind) = self._constant(inputs[1]).tolist()
        if before or behind:  # channels
            pads = self._weight(
                f"{self._name(output)}.pads", np.array([0, before, top, left, 0, behind, bottom, right], np.int64)
            )
            self._node("Pad", [self._name(inputs[0]), pads], self._name(output), mode="constant")
        else:  # merged into the following convolutions
            self._pads[output] = inputs[0], [top, left, bottom, right]

    def _pooling(self, kind: str) -> Callable[[Any, list[int], int], None]:
        def convert(operator: Any, inputs: list[int], output: int) -> None:
            options = _options(operator, tflite.Pool2DOptions)
            kernel = [options.FilterHeight(), options.FilterWidth()]
            pads = _same_padding(self._shape(inputs[0]), self._shape(output), kernel, options)
            assert not any(pads)
            self._node_with_activation(
                kind,
                [self._name(inputs[0])],
                output,
                options.FusedActivationFunction(),
                kernel_shape=kernel,
                strides=[options.StrideH(), options.StrideW()],
            )

        return convert

    def _resize(self, operator: Any, inputs: list[int], output: int) -> None:
        options = _options(operator, tflite.ResizeBilinearOptions)
        if options.AlignCorners():
            mode = "align_corners"
        else:
            mode = "half_pixel" if options.HalfPixelCenters() else "asymmetric"
        height, width = (int(n) for n in self._constant(inputs[1]))
        name = self._name(output)
        sizes = self._weight(f"{name}.sizes", np.array([1, self._shape(output)[3], height, width], np.int64))
        self._node(
            "Resize",
            [self._name(inputs[0]), "", "", sizes],
            name,
            mode="linear",
            coordinate_transformation_mode=mode,
        )

    def _depth_to_space(self, operator: Any, inputs: list[int], output: int) -> None:
        block = _options(operator, tflite.DepthToSpaceOptions).BlockSize()
        self._node("DepthToSpace", [self._name(inputs[0])], self._name(output), blocksize=block, mode="DCR")

    def _reshape(self, operator: Any, inputs: list[int], output: int) -> None:
        """Convert a reshape of channels-last values: transpose to channels last first."""
        name = self._name(output)
        self._node("Transpose", [self._name(inputs[0])], f"{name}.nhwc", perm=[0, 2, 3, 1])
        shape = self._weight(f"{name}.shape", np.array(self._shape(output), np.int64))
        self._node("Reshape", [f"{name}.nhwc", shape], name)

    def _concatenation(self, operator: Any, inputs: list[int], output: int) -> None:
        options = _options(operator, tflite.ConcatenationOptions)
        assert len(self._shape(output)) == 3, "only supported after a reshape, where the axes are those of TFLite"
        self._node("Concat", [self._name(t) for t in inputs], self._name(output), axis=options.Axis())

    def _identity(self, operator: Any, inputs: list[int], output: int) -> None:
        """Convert a slice of the whole tensor."""
        assert self._shape(inputs[0]) == self._shape(output)
        self._node("Identity", [self._name(inputs[0])], self._name(output))

    def _elementwise(self, kind: str, options: Any = None) -> Callable[[Any, list[int], int], None]:
        def convert(operator: Any, inputs: list[int], output: int) -> None:
            activation = _options(operator, options).FusedActivationFunction() if options else None
            self._node_with_activation(kind, [self._name(t) for t in inputs], output, activation)

        return convert


def _options(operator: Any, kind: Any) -> Any:
    table = operator.BuiltinOptions()
    options = kind()
    options.Init(table.Bytes, table.Pos)
    return options


def _same_padding(source: tuple[int, ...], target: tuple[int, ...], kernel: Iterable[int], options: Any) -> list[int]:
    """Return ONNX pads (top, left, bottom, right) for TFLite's SAME or VALID padding; odd pixels go to the end."""
    if options.Padding() == tflite.Padding.VALID:
        return [0, 0, 0, 0]
    strides = (options.StrideH(), options.StrideW())
    total = [
        max(0, (out - 1) * stride + k - size)
        for size, out, k, stride in zip(source[1:3], target[1:3], kernel, strides, strict=True)
    ]
    begin = [t // 2 for t in total]
    return [*begin, *(t - b for t, b in zip(total, begin, strict=True))]


def _densify(values: np.ndarray, sparsity: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Convert a sparse TFLite constant to a dense array.

    Dimensions, in traversal order, are dense (size) or CSR (segments and indices); a block dimension splits a dimension
    of the array.
    """
    order = [int(n) for n in sparsity.TraversalOrderAsNumpy()]
    blocks = [] if sparsity.BlockMapLength() == 0 else [int(n) for n in sparsity.BlockMapAsNumpy()]
    levels = [sparsity.DimMetadata(k) for k in range(sparsity.DimMetadataLength())]
    block_sizes = {len(shape) + k: levels[order.index(len(shape) + k)].DenseSize() for k in range(len(blocks))}
    dense = np.zeros(shape, values.dtype)
    entries: list[tuple[tuple[int, ...], int]] = [((), 0)]  # (indices so far, position at this level)
    for level in levels:
        if level.Format() == tflite.DimensionType.DENSE:
            size = level.DenseSize()
            entries = [((*at, i), place * size + i) for at, place in entries for i in range(size)]
        else:
            starts, indices = _csr(level, "Segments"), _csr(level, "Indices")
            entries = [
                ((*at, int(indices[j])), j) for at, place in entries for j in range(starts[place], starts[place + 1])
            ]
    for at, place in entries:
        index = [0] * len(shape)
        for dimension, i in zip(order, at, strict=True):
            if dimension < len(shape):
                split = next((len(shape) + k for k, d in enumerate(blocks) if d == dimension), None)
                index[dimension] += i * (block_sizes[split] if split is not None else 1)
            else:
                index[blocks[dimension - len(shape)]] += i
        dense[tuple(index)] = values[place]
    return dense


def _csr(level: Any, part: str) -> list[int]:
    kinds = {
        tflite.SparseIndexVector.Int32Vector: tflite.Int32Vector,
        tflite.SparseIndexVector.Uint16Vector: tflite.Uint16Vector,
        tflite.SparseIndexVector.Uint8Vector: tflite.Uint8Vector,
    }
    table = getattr(level, f"Array{part}")()
    vector = kinds[getattr(level, f"Array{part}Type")()]()
    vector.Init(table.Bytes, table.Pos)
    return [int(n) for n in vector.ValuesAsNumpy()]


if __name__ == "__main__":
    sys.exit(main())
