"""Layers that slide a window over rows and columns: Convolution, Deconvolution, Pooling."""

from typing import Any

import numpy as np

from facedeploy.importers.caffe.graph import Graph, Shape
from facedeploy.importers.caffe.network import Layer
from facedeploy.importers.caffe.settings import Settings

OF_CONVOLUTION_TRAINING = ("weight_filler", "bias_filler", "engine", "force_nd_im2col")


def convolution(layer: Layer, graph: Graph) -> None:
    """Conv."""
    _convolve(layer, graph, "Conv")


def deconvolution(layer: Layer, graph: Graph) -> None:
    """ConvTranspose, whose weights lie as Caffe's."""
    _convolve(layer, graph, "ConvTranspose")


def _convolve(layer: Layer, graph: Graph, operator: str) -> None:
    batch, channels, *sides = image_shape(layer, graph)
    settings = layer.settings.section("convolution_param")
    outputs, groups = _channels(settings, channels)
    kernel, stride, pad, dilation = _window(settings, dilated=True)
    covered = [step * (taps - 1) + 1 for taps, step in zip(kernel, dilation, strict=True)]
    along = zip(sides, covered, stride, pad, strict=True)
    if operator == "Conv":
        made = [(side + 2 * before - width) // jump + 1 for side, width, jump, before in along]
        weights = (outputs, channels // groups, *kernel)
        problem = f"a window of {kernel} (height, width) does not fit into {sides}"
    else:
        made = [jump * (side - 1) + width - 2 * before for side, width, jump, before in along]
        weights = (channels, outputs // groups, *kernel)
        problem = f"padding of {pad} (height, width) leaves nothing of the output"
    if min(made) < 1:
        raise settings.error(problem)
    graph.add(
        operator,
        layer,
        [layer.bottoms[0], *_parameters(layer, graph, settings, weights, outputs)],
        (batch, outputs, *made),
        kernel_shape=kernel,
        strides=stride,
        pads=pad * 2,
        dilations=dilation,
        group=groups,
    )


def pooling(layer: Layer, graph: Graph) -> None:
    """MaxPool, AveragePool, or one of all rows and columns."""
    batch, channels, *sides = image_shape(layer, graph)
    settings = layer.settings.section("pooling_param")
    settings.skip("engine")
    kind = {"0": "MAX", "1": "AVE"}.get(method := settings.choice("pool", "MAX", ("MAX", "AVE", "0", "1")), method)
    if settings.flag("global_pooling", False):
        operator = "GlobalMaxPool" if kind == "MAX" else "GlobalAveragePool"
        graph.add(operator, layer, layer.bottoms, (batch, channels, 1, 1))
        return
    kernel, stride, pad, _ = _window(settings, dilated=False)
    if any(before >= taps for before, taps in zip(pad, kernel, strict=True)):
        raise settings.error(f"padding of {pad} (height, width) is as large as the window of {kernel}")
    up = settings.choice("round_mode", "CEIL", ("CEIL", "FLOOR", "0", "1")) in ("CEIL", "0")
    made = [
        _pooled(side, taps, jump, before, up)
        for side, taps, jump, before in zip(sides, kernel, stride, pad, strict=True)
    ]
    # Of the side that is rounded up, what the last window lacks is padding: no rounding is left to the operator.
    after = [
        max(0, (count - 1) * jump + taps - side - before)
        for count, side, taps, jump, before in zip(made, sides, kernel, stride, pad, strict=True)
    ]
    begins = [(count - 1) * jump - before for count, jump, before in zip(made, stride, pad, strict=True)]
    if min(made) < 1 or any(begin >= side for begin, side in zip(begins, sides, strict=True)):
        raise settings.error(f"a window of {kernel} (height, width) by {stride} does not fit into {sides}")
    source, shape = layer.bottoms[0], (batch, channels, *made)
    window: dict[str, Any] = {"kernel_shape": kernel, "strides": stride}
    if kind == "MAX":
        graph.add("MaxPool", layer, [source], shape, pads=[*pad, *after], **window)
    elif all(behind <= before for behind, before in zip(after, pad, strict=True)):
        graph.add("AveragePool", layer, [source], shape, pads=[*pad, *after], count_include_pad=1, **window)
    else:  # The padding that the file has counts, what was added to round up does not.
        if any(pad):
            widths = graph.constant(f"{layer.name}.pads", np.array([0, 0, *pad, 0, 0, *pad], np.int64))
            padded = [side + 2 * before for side, before in zip(sides, pad, strict=True)]
            name = graph.free(f"{layer.tops[0]}.padded")
            graph.add("Pad", layer, [source, widths], (batch, channels, *padded), name)
            source = name
        rest = [max(0, behind - before) for behind, before in zip(after, pad, strict=True)]
        graph.add("AveragePool", layer, [source], shape, pads=[0, 0, *rest], count_include_pad=0, **window)


def image_shape(layer: Layer, graph: Graph) -> Shape:
    """Of what the layer reads, which has rows and columns."""
    shape = graph.shapes[layer.bottoms[0]]
    if len(shape) != 4:
        raise layer.settings.error(f"reads a blob of {list(shape)}, expected one of four sides", "bottom")
    return shape


def _pooled(side: int, taps: int, jump: int, before: int, up: bool) -> int:
    """How many windows there are; with padding, none that begins behind the image."""
    room = side + 2 * before - taps
    count = (-(-room // jump) if up else room // jump) + 1
    return count - 1 if before and (count - 1) * jump >= side + before else count


def _channels(settings: Settings, channels: int) -> tuple[int, int]:
    """Outputs and groups; the convolution is over rows and columns."""
    settings.skip(*OF_CONVOLUTION_TRAINING)
    outputs, groups = settings.integer("num_output", least=1), settings.integer("group", 1, least=1)
    if channels % groups or outputs % groups:
        raise settings.error(f"got {groups}, which does not divide {channels} and {outputs} channels", "group")
    if (axis := settings.integer("axis", 1)) != 1:
        raise settings.error(f"got {axis}, expected 1", "axis")
    return outputs, groups


def _parameters(layer: Layer, graph: Graph, settings: Settings, weight: Shape, outputs: int) -> list[str]:
    """Names of weight and, if there is one, bias."""
    biased = settings.flag("bias_term", True)
    arrays = graph.parameters_of(layer, weight, *([(outputs,)] if biased else []))
    return [
        graph.constant(f"{layer.name}.{role}", array) for role, array in zip(("weight", "bias"), arrays, strict=False)
    ]


def _window(settings: Settings, dilated: bool) -> tuple[list[int], list[int], list[int], list[int]]:
    """Kernel, stride, padding, dilation: height and width of each."""
    kernel = _pair(settings, "kernel_size", "kernel", None, 1)
    stride = _pair(settings, "stride", "stride", 1, 1)
    pad = _pair(settings, "pad", "pad", 0, 0)
    return kernel, stride, pad, _pair(settings, "dilation", "", 1, 1) if dilated else [1, 1]


def _pair(settings: Settings, key: str, stem: str, default: int | None, least: int) -> list[int]:
    """Given once, once a side, or as `stem`_h and `stem`_w."""
    each = settings.integers(key, least)
    named = [f"{stem}_h", f"{stem}_w"] if stem else []
    if any(settings.has(name) for name in named):
        if each:
            raise settings.error(f"is there beside {' and '.join(named)}", key)
        # Of padding alone, Caffe takes a side that is not given for 0.
        return [settings.integer(name, default if least == 0 else None, least) for name in named]
    if not each and default is not None:
        return [default, default]
    if len(each) not in (1, 2):
        raise settings.error(f"is there {len(each)} times, expected once or twice (height, width)", key)
    return [each[0], each[-1]]
