"""`graph.extra_ops`: post-processing compiled into the artifact."""

from collections.abc import Sequence

from tvm import tirx

from facedeploy.artifact.manifest import PostProcess
from facedeploy.compiler.kernels.head_nms import head_nms
from facedeploy.config.build_config import BuildConfig
from facedeploy.core.errors import CompileError
from facedeploy.core.head_spec import HeadSpec
from facedeploy.core.tensor_spec import TensorSpec

# The outputs that post-processing reads, in the order of its arguments, and how many numbers each may have per prior,
# the one by which it is known first. What `gather_heads` makes has these names.
HEADS = {"loc": (4,), "conf": (2, 1), "landms": (10,)}


def post_process_of(config: BuildConfig, outputs: Sequence[Sequence[TensorSpec]]) -> PostProcess | None:
    """`graph.extra_ops` as the manifest has it, matched with the model's `outputs` at each shape of the config.

    None when the config has none. A model without landms makes faces without landmarks.

    Raises CompileError when an output is missing, is not float32, or its priors are not as many as the config's anchors
    make.
    """
    if config.graph is None:
        return None
    op = config.graph.extra_ops
    spec = op.params.spec()
    inputs, *_ = (
        _match_heads(specs, spec, shape) for specs, shape in zip(outputs, config.frontend.shapes, strict=True)
    )
    return PostProcess(inputs, spec, op.params.nms_params())


def extra_op(post: PostProcess, shape_nchw: tuple[int, ...], outputs: Sequence[TensorSpec]) -> tirx.PrimFunc:
    """The kernel of `post` for a model with this input and these outputs."""
    batch, _, height, width = shape_nchw
    widths = {output.name: output.shape[-1] for output in outputs}
    classes = widths[post.inputs[1]]
    points = sum(widths[name] for name in post.inputs[2:]) // 2
    return head_nms(post.head, (height, width), batch, classes=classes, points=points)


def _match_heads(
    outputs: Sequence[TensorSpec], spec: HeadSpec, shape_nchw: tuple[int, int, int, int]
) -> tuple[str, ...]:
    """Names of the outputs that are loc, conf and, if the model has it, landms: by name, else by their last axis."""
    batch, _, height, width = shape_nchw
    count = spec.count((height, width))
    names = list[str]()
    for head, widths in HEADS.items():
        named = [output for output in outputs if output.name == head]
        candidates = named or [output for output in outputs if len(output.shape) == 3 and output.shape[-1] == widths[0]]
        if head == "landms" and not candidates:
            break
        if len(candidates) != 1:
            raise CompileError(
                f"graph.extra_ops: {spec.type} needs one output {head} of shape (N, priors, {widths[0]}); "
                f"the model's outputs are {', '.join(map(str, outputs))}"
            )
        (found,) = candidates
        last = found.shape[-1] if found.shape and found.shape[-1] in widths else widths[0]
        expected = TensorSpec(found.name, (batch, count, last), "float32")
        if found != expected:
            raise CompileError(
                f"graph.extra_ops.params: {spec.described()} makes {count} priors on {height}x{width} (height x "
                f"width), expected an output {expected}; the model has {found}"
            )
        names.append(found.name)
    return tuple(names)
