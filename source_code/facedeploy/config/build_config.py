"""The build YAML as typed values: section for section, and under the same key names."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from facedeploy.config.describe import describe_value, join_or
from facedeploy.config.extra_ops import ExtraOps
from facedeploy.config.fields import Count, Index, Pixels, Points, Seed, Text
from facedeploy.config.process_ops import ProcessOp, canvas_hw, check_order
from facedeploy.core.shown import shown

Shape = Annotated[
    tuple[Pixels, Pixels, Pixels, Pixels], Field(description="[batch, 3, height, width], each a whole number above 0")
]
CalibrateMode = Literal["minmax", "max", "percentile", "kl_divergence", "mse"]
# Types whose checkpoint is a net without parameters -> what has these.
PARAMETER_FILES = {"caffe": "the .caffemodel of the .prototxt", "mxnet": "the .params of the symbol"}
Precision = Literal["fp32", "fp16", "bf16", "int8"]


@dataclass(frozen=True)
class Frontend:
    """Where the model comes from, and the static shape (NCHW) of its input.

    `params`: the file of the parameters, for types that have them beside the `checkpoint`, which is the net then.
    `ladder`: more shapes of the same input, which the artifact holds beside it with the same weights.
    `random_weights`: a seed; parameters are drawn with it, and `params` is not read. Of type mxnet only.
    """

    type: Literal["onnx", "torchscript", "caffe", "mxnet"]
    checkpoint: Text
    shape: dict[str, Shape]
    dtype: Literal["fp32"] = "fp32"
    ladder: tuple[Shape, ...] = ()
    params: Text | None = None
    random_weights: Seed | None = None

    def __post_init__(self) -> None:
        if self.random_weights is not None and self.type != "mxnet":
            raise ValueError(
                f"random_weights: is for type mxnet only, the weights of {self.type} come from files; "
                "`facedeploy export --random_weights SEED` writes ONNX files of its nets with such weights"
            )
        if self.params is None and self.random_weights is None and self.type in PARAMETER_FILES:
            raise ValueError(f"params: is missing, type {self.type} needs it: {PARAMETER_FILES[self.type]}")
        if self.params is not None and self.type not in PARAMETER_FILES:
            raise ValueError(
                f"params: is for type {join_or(PARAMETER_FILES)} only, the checkpoint of {self.type} has all"
            )
        if len(self.shape) != 1:
            got = shown(", ".join(self.shape)) if self.shape else "none"
            raise ValueError(f"shape: got {len(self.shape)} inputs ({got}), expected one, as input: [1, 3, 640, 640]")
        if self.shape_nchw[1] != 3:
            raise ValueError(
                f"shape.{shown(self.input_name)}: got {self.shape_nchw[1]} channels, expected [N, 3, H, W]"
            )
        for index, shape in enumerate(self.ladder):
            if shape[1] != 3:
                raise ValueError(f"ladder.{index}: got {shape[1]} channels, expected [N, 3, H, W]")
            if shape in self.shapes[: index + 1]:
                raise ValueError(f"ladder.{index}: got {list(shape)} a second time; each shape is compiled once")

    @property
    def input_name(self) -> str:
        """The name of the model's input."""
        return next(iter(self.shape))

    @property
    def shape_nchw(self) -> tuple[int, int, int, int]:
        """Batch, 3, height, width."""
        return self.shape[self.input_name]

    @property
    def shapes(self) -> tuple[tuple[int, int, int, int], ...]:
        """All that the artifact holds, the first one first."""
        return self.shape_nchw, *self.ladder

    @property
    def canvas_hw(self) -> tuple[int, int]:
        """Height and width in px, of the first shape."""
        return self.shape_nchw[2:]


@dataclass(frozen=True)
class CompileOptions:
    """`threads`: how many the model may use, all of the machine's if None. The other two are the vendor's, unused."""

    threads: Count | None = None
    data_transport_mode: int | None = None
    cluster_mode: int | None = None


@dataclass(frozen=True)
class Evaluate:
    """What AP is measured on: `images`, a folder or a list, and `ground_truth`, the folder of their four .mat files."""

    images: Text
    ground_truth: Text


@dataclass(frozen=True)
class QuantizeOptions:
    """How int8 ranges are found; `skip_conv_layers` stay float: indices in graph order, names, or patterns.

    `ranges`: a calibration table of TensorRT that has them, so that no images are needed.
    `max_drop`: more layers stay float, the fewest with which no difficulty loses more AP than so many points against
    fp32, both measured on `evaluate`.
    """

    calibrate_mode: CalibrateMode = "minmax"
    quantize_per_channel: bool = True
    skip_conv_layers: tuple[Index | Text, ...] = ()
    max_drop: Points | None = None
    evaluate: Evaluate | None = None
    ranges: Text | None = None

    def __post_init__(self) -> None:
        if self.max_drop is not None and self.ranges is not None:
            raise ValueError("max_drop: ranks layers on the images to calibrate with, which ranges does without")
        if self.max_drop is not None and self.evaluate is None:
            raise ValueError("max_drop: needs evaluate, the images and ground_truth that AP is measured on")
        if self.evaluate is not None and self.max_drop is None:
            raise ValueError("evaluate: needs max_drop, the AP points that int8 may lose on these images")


@dataclass(frozen=True)
class Backend:
    """What to compile to. `target` is `host`, an x86-64 level such as `x86-64-v3`, or any tvm target.

    `tune`: kernels are chosen by measurement on this machine instead of by a model of their cost. That takes longer the
    first time; what was measured is kept in `<workspace.path>/tuning.json`.
    """

    dtype: Precision
    type: Literal["tvm", "tvm_vacc"] = "tvm"
    target: Text = "host"
    tune: bool = False
    compile: CompileOptions = field(default_factory=CompileOptions)
    quantize: QuantizeOptions | None = None


@dataclass(frozen=True)
class Graph:
    """What is added to the graph of the model."""

    extra_ops: ExtraOps


@dataclass(frozen=True)
class Sampler:
    """Which files of the calibration folder: `suffix` without a dot, and how many."""

    suffix: Text
    get_data_num: Count


@dataclass(frozen=True)
class Dataset:
    """How an image becomes the model's input; `path` and `sampler`, the images to calibrate with, are int8's."""

    process_ops: tuple[ProcessOp, ...]
    type: Literal["tvm"] = "tvm"
    path: Text | None = None
    sampler: Sampler | None = None

    def __post_init__(self) -> None:
        check_order(self.process_ops)


@dataclass(frozen=True)
class Workspace:
    """The artifact is written to `<path>/<name>/`."""

    path: Text


@dataclass(frozen=True)
class BuildConfig:
    """A build YAML. Paths in it are relative to the current directory. ValueError where sections contradict."""

    name: Text
    frontend: Frontend
    backend: Backend
    workspace: Workspace
    graph: Graph | None = None
    dataset: Dataset | None = None

    def __post_init__(self) -> None:
        problems = [*_name_problems(self.name), *_int8_problems(self), *_canvas_problems(self)]
        if problems:
            raise ValueError("\n".join(problems))


def notes(config: BuildConfig) -> tuple[str, ...]:
    """Lines for the log: keys that are accepted and do nothing, and names that mean another."""
    backend, lines = config.backend, list[str]()
    frontend = config.frontend
    if frontend.random_weights is not None:
        unread = f", and {shown(frontend.params)} is not read" if frontend.params else ""
        lines.append(
            f"frontend.random_weights: weights are random, seed {frontend.random_weights}{unread}: "
            "speed and numerics mean something, detections do not"
        )
    if backend.type == "tvm_vacc":
        lines.append("backend.type: tvm_vacc means tvm here")
    lines += [
        f"backend.compile.{key}: the vendor's hardware reads it; it does nothing here"
        for key in ("data_transport_mode", "cluster_mode")
        if getattr(backend.compile, key) is not None
    ]
    if backend.quantize and backend.dtype != "int8":
        lines.append(f"backend.quantize: for dtype int8 only; it does nothing for {backend.dtype}")
    elif backend.quantize and backend.quantize.ranges:
        lines.append("backend.quantize.ranges: no images are run; calibrate_mode, dataset.path and sampler do nothing")
    elif backend.quantize and backend.quantize.calibrate_mode == "max":
        lines.append("backend.quantize.calibrate_mode: max means minmax")
    return tuple(lines)


def _name_problems(name: str) -> list[str]:
    if name in (".", "..") or set(name) & set("/\\\0"):
        return [f"name: got {describe_value(name)}, expected the name of a folder (it is made under workspace.path)"]
    return []


def _int8_problems(config: BuildConfig) -> list[str]:
    if config.backend.dtype != "int8":
        return []
    dataset, quantize = config.dataset, config.backend.quantize
    needed: dict[str, object] = {"backend.quantize": quantize}
    if not (quantize and quantize.ranges):
        needed |= {
            "dataset": dataset,
            "dataset.path": dataset is None or dataset.path,
            "dataset.sampler": dataset is None or dataset.sampler,
        }
    problems = [
        f"{key}: is missing, backend.dtype int8 needs it to calibrate"
        + (" (--set 'backend.quantize={}' takes what it is by default)" if key == "backend.quantize" else "")
        for key, value in needed.items()
        if not value
    ]
    if quantize and quantize.max_drop is not None and not config.graph:
        problems.append("graph.extra_ops: is missing, backend.quantize.max_drop needs the boxes that it makes")
    return problems


def _canvas_problems(config: BuildConfig) -> list[str]:
    made = config.dataset and canvas_hw(config.dataset.process_ops)
    wanted = config.frontend.canvas_hw
    if not made or made == wanted:
        return []
    return [
        f"dataset.process_ops: they make a canvas of {made[0]}x{made[1]} (height x width), "
        f"frontend.shape.{shown(config.frontend.input_name)} says {wanted[0]}x{wanted[1]}: these must agree"
    ]
