"""`mod.json`: all that is known of an artifact without opening its code."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from facedeploy.config.fields import BY_TYPE
from facedeploy.config.validate import validate
from facedeploy.core.errors import ArtifactError, ConfigError
from facedeploy.core.head_spec import HeadSpec
from facedeploy.core.nms_params import NmsParams
from facedeploy.core.normalization import Normalization
from facedeploy.core.shown import shown
from facedeploy.core.tensor_spec import TensorSpec, bytes_of

# Entries: for normalized float input, and for the integers that this becomes.
MAIN, INTEGERS = "main", "integers"
# What lays an image on the canvas of a float input, where the instruction set has such a function.
LETTERBOX = "letterbox"
SCHEMA = 8  # Raised whenever an older reader would misunderstand a newer file.
LARGEST_SIZE = 32_767  # Of a batch and of the sides of a canvas, as in a build config.
ALIGNMENT = 64  # Bytes: what compiled code expects of the addresses of tensors, and tvm's own all have.


@dataclass(frozen=True)
class Source:
    """Where the model came from. `sha256` is of the file compiled; `metadata` is what that file says of itself."""

    type: str
    file: str
    sha256: str
    config: str
    config_sha256: str
    metadata: dict[str, str]


@dataclass(frozen=True)
class CompiledFor:
    """The machine: tvm's name of the target, LLVM's triple, the instruction-set features that the code uses.

    `threads` is what the config asks for; None leaves it to the runtime.
    """

    name: str
    triple: str
    features: tuple[str, ...]
    threads: int | None


@dataclass(frozen=True)
class Versions:
    """What built the artifact."""

    facedeploy: str
    tvm: str


@dataclass(frozen=True)
class PostProcess:
    """The compiled post-processing. `inputs` names the outputs of the model that are its loc, conf and landms.

    A model without landmarks has no landms. `head` says what the numbers encode; the function in `mod.so` is called as
    its type. The numbers of `nms` are defaults, which a caller may override.
    """

    inputs: tuple[str, ...]
    head: Annotated[HeadSpec, BY_TYPE]
    nms: NmsParams

    def __post_init__(self) -> None:
        if len(self.inputs) not in (2, 3):
            raise ValueError(f"inputs: got {len(self.inputs)} outputs, expected loc, conf and perhaps landms")


@dataclass(frozen=True)
class Form:
    """How a kernel writes (N, channels, H, W): as (N, ceil(channels / block), H + 2 halo, W + 2 halo, block).

    `scale` and `zero_point`, one or one a channel, say what integers stand for: (q - zero_point) scale; empty for
    floats.
    """

    channels: int
    halo: int
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()


@dataclass(frozen=True)
class Kernel:
    """A function of the artifact's code, which several calls may share, and what one call of it computes.

    `layers` names the ONNX convolutions (a node's name, else its output's); empty where that is not known.
    `multiply_adds` are those of the direct algorithm for the whole batch, whatever algorithm the kernel has; 0 for what
    is no convolution. `reason` says why its tiles are as they are. `writes` is the form of the one
    tensor it writes; None for kernels that write several, or planar ones.
    """

    name: str
    layers: tuple[str, ...] = ()
    multiply_adds: int = 0
    reason: str = ""
    writes: Form | None = None


@dataclass(frozen=True)
class Weights:
    """How `mod.params` has float32 parameters: as `dtype`, of which opening makes float32 again.

    Scales of integers always are float32 there. `winograd`: where those start in memory, bytes, of which the file has
    the 3x3 kernels in place of their transforms.
    """

    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    winograd: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"float weights stored as {self.dtype}"


Region = Literal["input", "parameters", "workspace", "outputs"]


@dataclass(frozen=True)
class Argument:
    """A tensor that a kernel reads or writes: `offset` bytes behind the start of one of the arguments of `main`."""

    region: Region
    offset: int
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class KernelCall:
    """One call of `main`: what is read, and then what is written."""

    kernel: Kernel
    arguments: tuple[Argument, ...]

    @property
    def bytes(self) -> int:
        """The size of all that is read and written, weights included."""
        return sum(bytes_of(argument.shape, argument.dtype) for argument in self.arguments)


@dataclass(frozen=True)
class IntegerInput:
    """Integers that the normalized input becomes and that are the pixels: (N, 1, H + 2 halo, W + 2 halo, 4) u8.

    `letterbox` is the function that lays an image on the canvas so, where the instruction set has such a function.
    """

    tensor: TensorSpec
    letterbox: str

    def refuse_other_than(self, floats: TensorSpec, place: str) -> None:
        """Raise ValueError unless the integers are of such a float input, (N, 3, H, W)."""
        batch, _, height, width = floats.shape
        halo = (self.tensor.shape[2] - height) // 2 if len(self.tensor.shape) == 5 else -1
        expected = (batch, 1, height + 2 * halo, width + 2 * halo, 4)
        if halo < 0 or self.tensor.shape != expected or self.tensor.dtype != "uint8":
            raise ValueError(
                f"{place}.tensor: got {shown(str(self.tensor))}, expected uint8 of the shape "
                f"({batch}, 1, {height} + 2 halo, {width} + 2 halo, 4)"
            )


@dataclass(frozen=True)
class Rung:
    """One shape of the ladder that an artifact is: an input of that shape, and what the code does with it.

    `suffix` follows the names of the rung's functions in `mod.so`: the float entry `main`, `integers` where there are
    such, the post-processing, kernels. `input` and `outputs` are those of `main`. `input_alignment`, bytes: a float
    input at such an address is read where it lies, any other is copied first. An entry is called with its input, the
    parameters of `mod.params`, `workspace_bytes` of memory, and memory for the outputs, which lie there as `lay_out`
    has it. `calls` is what `main` does with them.
    """

    suffix: str
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    input_alignment: int
    workspace_bytes: int
    calls: tuple[KernelCall, ...]
    integers: IntegerInput | None = None

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The convolution kernels, in the order of their calls."""
        return tuple(call.kernel for call in self.calls if call.kernel.multiply_adds)

    @property
    def batch(self) -> int:
        """Images that one call takes."""
        return self.input.shape[0]

    @property
    def canvas_hw(self) -> tuple[int, int]:
        """Height and width, px, of the canvas."""
        return self.input.shape[2], self.input.shape[3]


@dataclass(frozen=True)
class FileEntry:
    """Size in bytes and hash of one of the files."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What `mod.json` says.

    `normalization` is None when the config gave none. `postprocess` is None for a model compiled without one. `dtype`
    is what the config asks for, `arithmetic` what the kernels compute with, `weights` how these are stored. The
    `ladder`'s first rung has the shape of the config.
    """

    schema: int
    name: str
    dtype: str
    arithmetic: str
    weights: Weights
    normalization: Normalization | None
    postprocess: PostProcess | None
    target: CompiledFor
    source: Source
    versions: Versions
    ladder: tuple[Rung, ...]
    files: dict[str, FileEntry]

    def __post_init__(self) -> None:
        if not self.ladder:
            raise ValueError("ladder: got no shape, expected one or more")
        expected = self.postprocess.inputs if self.postprocess else ()
        for index, rung in enumerate(self.ladder):
            shape = rung.input.shape
            if len(shape) != 4 or shape[1] != 3 or not all(1 <= size <= LARGEST_SIZE for size in shape):
                raise ValueError(
                    f"ladder.{index}.input: got {shown(str(rung.input))}, expected the shape (N, 3, H, W), sizes from "
                    f"1 to {LARGEST_SIZE}"
                )
            if rung.integers:
                rung.integers.refuse_other_than(rung.input, f"ladder.{index}.integers")
            names = [spec.name for spec in rung.outputs]
            if not names or not set(expected) <= set(names):
                got = shown(", ".join(names)) if names else "none"
                wanted = shown(", ".join(expected)) if expected else "one or more"
                raise ValueError(f"ladder.{index}.outputs: got {got}, expected {wanted}")

    @property
    def base(self) -> Rung:
        """The shape that the config names first, `frontend.shape`."""
        return self.ladder[0]


def calls_of(ladder: Iterable[Rung]) -> tuple[KernelCall, ...]:
    """Those of all shapes."""
    return tuple(call for rung in ladder for call in rung.calls)


def lay_out(sizes: Iterable[int]) -> tuple[list[int], int]:
    """Where tensors of so many bytes start that lie one behind the other, aligned; and where the last one ends."""
    offsets, end = [], 0
    for size in sizes:
        offsets.append(end)
        end += -(-size // ALIGNMENT) * ALIGNMENT
    return offsets, max(end, ALIGNMENT)


def manifest_to_json(manifest: Manifest) -> str:
    """The text of `mod.json`."""
    return json.dumps(asdict(manifest), indent=1) + "\n"


def manifest_from_json(text: str, file: str) -> Manifest:
    """Parse `mod.json`. Raises ArtifactError: not JSON, of another schema, or not as a manifest is."""
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{file} is not JSON ({error}): compile the model again") from error
    schema = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(schema, int) or isinstance(schema, bool):
        raise ArtifactError(
            f"{file} is not the manifest of an artifact (it has no schema number): give the prefix .../mod"
        )
    if schema != SCHEMA:
        raise ArtifactError(f"{file}: got schema {schema}, this version reads {SCHEMA}: compile the model again")
    try:
        return validate(Manifest, data, file)
    except ConfigError as error:
        # A person mends a config key by key, but not a manifest: one of its problems is enough.
        count, *problems = str(error).splitlines()
        what = f"{count}, the first: {problems[0].strip()}" if problems else count
        raise ArtifactError(f"{what}; compile the model again") from error
