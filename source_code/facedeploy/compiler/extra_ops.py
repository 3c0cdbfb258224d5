"""`graph.extra_ops`: post-processing compiled into the artifact."""

from collections.abc import Sequence

from tvm import tirx

from facedeploy.artifact.manifest import PostProcess
from facedeploy.compiler.kernels.retinaface_nms import retinaface_nms
from facedeploy.config.build_config import BuildConfig
from facedeploy.core.errors import CompileError
from facedeploy.core.prior_spec import PriorSpec
from facedeploy.core.tensor_spec import TensorSpec

# The outputs that post-processing reads, in the order of its arguments, and how many numbers each has per prior.
HEADS = {"loc": 4, "conf": 2, "landms": 10}


def post_process_of(config: BuildConfig, outputs: Sequence[Sequence[TensorSpec]]) -> PostProcess | None:
    """`graph.extra_ops` as the manifest has it, matched with the model's `outputs` at each shape of the config.

    None when the config has none.

    Raises CompileError when an output is missing, is not float32, or its priors are not as many as the config's anchors
    make.
    """
    if config.graph is None:
        return None
    params = config.graph.extra_ops.params
    priors = params.prior_spec()
    inputs, *_ = (
        _match_heads(specs, priors, shape) for specs, shape in zip(outputs, config.frontend.shapes, strict=True)
    )
    return PostProcess(config.graph.extra_ops.type, inputs, priors, params.nms_params())


def extra_op(post: PostProcess, shape_nchw: tuple[int, ...]) -> tirx.PrimFunc:
    """The kernel of `post` for a model with this input."""
    batch, _, height, width = shape_nchw
    return retinaface_nms(post.priors, (height, width), batch)


def _match_heads(
    outputs: Sequence[TensorSpec], priors: PriorSpec, shape_nchw: tuple[int, int, int, int]
) -> tuple[str, str, str]:
    """Names of the outputs that are loc, conf and landms: by name, else by their last axis."""
    batch, _, height, width = shape_nchw
    count = priors.count((height, width))
    names = []
    for head, values in HEADS.items():
        named = [spec for spec in outputs if spec.name == head]
        candidates = named or [spec for spec in outputs if len(spec.shape) == 3 and spec.shape[-1] == values]
        if len(candidates) != 1:
            raise CompileError(
                f"graph.extra_ops: retinaface_nms needs one output {head} of shape (N, priors, {values}); "
                f"the model's outputs are {', '.join(map(str, outputs))}"
            )
        (found,) = candidates
        expected = TensorSpec(found.name, (batch, count, values), "float32")
        if found != expected:
            raise CompileError(
                f"graph.extra_ops.params: anchor {[size for level in priors.min_sizes for size in level]} at strides "
                f"{list(priors.strides)} makes {count} priors on {height}x{width} (height x width), "
                f"expected an output {expected}; the model has {found}"
            )
        names.append(found.name)
    loc, conf, landms = names
    return loc, conf, landms
