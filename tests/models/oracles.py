"""The nets once more, as plain functions of a checkpoint's names, to compare the modules with."""

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]


def conv(state: State, name: str, x: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    padding, groups = weight.shape[-1] // 2 * dilation, x.shape[1] // weight.shape[1]
    return F.conv2d(x, weight, state.get(f"{name}.bias"), stride, padding, dilation, groups)


def norm(state: State, name: str, x: Tensor) -> Tensor:
    mean, variance, weight, bias = (
        state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * weight + bias


def stretched(x: Tensor, size: int) -> Tensor:
    """Linear along the last axis, ends on ends."""
    length = x.shape[-1]
    at = torch.arange(size, dtype=torch.float64) * ((length - 1) / max(size - 1, 1))
    low = at.floor().long().clamp(max=max(length - 2, 0))
    high = (low + 1).clamp(max=length - 1)
    share = (at - low).to(x.dtype)
    return x[..., low] * (1 - share) + x[..., high] * share


def upsampled(x: Tensor, like: Tensor) -> Tensor:
    wide = stretched(x, like.shape[3])
    return stretched(wide.transpose(2, 3), like.shape[2]).transpose(2, 3)


def rows(outputs: list[Tensor], values: int) -> Tensor:
    return torch.cat([y.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, values)) for y in outputs], 1)


def separable(state: State, name: str, x: Tensor, stride: int = 1) -> Tensor:
    x = norm(state, f"{name}.1", conv(state, f"{name}.0", x, stride)).relu()
    return norm(state, f"{name}.4", conv(state, f"{name}.3", x)).relu()


def rfb_block(state: State, x: Tensor) -> Tensor:
    branches = []
    for branch, (last, dilation) in enumerate([(2, 2), (2, 3), (3, 5)]):
        y = x
        for index in range(last + 1):
            name = f"conv8.branch{branch}.{index}"
            y = norm(state, f"{name}.bn", conv(state, f"{name}.conv", y, dilation=dilation if index == last else 1))
            y = y.relu() if 0 < index < last else y
        branches.append(y)
    joined = norm(state, "conv8.ConvLinear.bn", conv(state, "conv8.ConvLinear.conv", torch.cat(branches, 1)))
    return (joined + norm(state, "conv8.shortcut.bn", conv(state, "conv8.shortcut.conv", x))).relu()


def slim(state: State, x: Tensor) -> list[Tensor]:
    x = norm(state, "conv1.1", conv(state, "conv1.0", x, 2)).relu()
    levels = []
    for number in range(2, 14):
        if number == 8 and "conv8.shortcut.conv.weight" in state:
            x = rfb_block(state, x)
        else:
            x = separable(state, f"conv{number}", x, 2 if number in (3, 5, 9, 12) else 1)
        if number in (8, 11, 13):
            levels.append(x)
    x = conv(state, "conv14.2.0", conv(state, "conv14.0", x).relu(), 2).relu()
    levels.append(conv(state, "conv14.2.2", x).relu())
    outputs = []
    for head, values in (("loc", 4), ("conf", 2), ("landm", 10)):
        found = [
            conv(state, f"{head}.{index}.2", conv(state, f"{head}.{index}.0", level).relu())
            for index, level in enumerate(levels[:3])
        ]
        outputs.append(rows([*found, conv(state, f"{head}.3", levels[3])], values))
    outputs[1] = outputs[1].softmax(2)
    return outputs


def retinaface(state: State, x: Tensor) -> list[Tensor]:
    """RetinaFace mobilenet0.25 with ReLU."""

    def block(name: str, x: Tensor) -> Tensor:
        return norm(state, f"{name}.1", conv(state, f"{name}.0", x))

    x = norm(state, "body.stage1.0.1", conv(state, "body.stage1.0.0", x, 2)).relu()
    strided = {(1, 2), (1, 4), (2, 0), (3, 0)}
    levels = []
    for stage, blocks in ((1, range(1, 6)), (2, range(6)), (3, range(2))):
        for index in blocks:
            x = separable(state, f"body.stage{stage}.{index}", x, 2 if (stage, index) in strided else 1)
        levels.append(block(f"fpn.output{stage}", x).relu())
    for index in (1, 0):
        above, here = levels[index + 1], levels[index]
        row = torch.arange(here.shape[2]) * above.shape[2] // here.shape[2]
        column = torch.arange(here.shape[3]) * above.shape[3] // here.shape[3]
        levels[index] = block(f"fpn.merge{index + 1}", here + above[:, :, row][..., column]).relu()
    contexts = []
    for index, level in enumerate(levels, 1):
        shared = block(f"ssh{index}.conv5X5_1", level).relu()
        seven = block(f"ssh{index}.conv7x7_3", block(f"ssh{index}.conv7X7_2", shared).relu())
        fields = [block(f"ssh{index}.conv3X3", level), block(f"ssh{index}.conv5X5_2", shared), seven]
        contexts.append(torch.cat(fields, 1).relu())
    outputs = [
        rows([conv(state, f"{head}.{index}.conv1x1", y) for index, y in enumerate(contexts)], values)
        for head, values in (("BboxHead", 4), ("ClassHead", 2), ("LandmarkHead", 10))
    ]
    outputs[1] = outputs[1].softmax(2)
    return outputs


def light_dsfd(state: State, x: Tensor) -> list[Tensor]:
    def block(name: str, x: Tensor, stride: int = 1) -> Tensor:
        return norm(state, f"{name}.bn", conv(state, f"{name}.conv", x, stride))

    def both_signs(name: str, x: Tensor, stride: int) -> Tensor:
        y = block(name, x, stride)
        return torch.cat([y.clamp(min=0), (-y).clamp(min=0)], 1)

    def inception(name: str, x: Tensor) -> Tensor:
        around = F.pad(x, (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1).mean((-1, -2))
        once = block(f"{name}.branch3x3", block(f"{name}.branch3x3_reduce", x).relu())
        twice = block(f"{name}.branch3x3_2", block(f"{name}.branch3x3_reduce_2", x).relu()).relu()
        fields = [block(f"{name}.branch1x1", x), block(f"{name}.branch1x1_2", around), once]
        return torch.cat([*fields, block(f"{name}.branch3x3_3", twice)], 1).relu()

    def halved(x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, 2, 1)

    first = inception("inception1", both_signs("conv1", x, 4))
    second = inception("inception2", halved(first))
    third = inception("inception3", both_signs("conv3", second, 2))
    fourth = inception("inception4", halved(third))
    fifth = block("conv5_2", block("conv5_1", fourth).relu(), 2).relu()
    sixth = block("conv6_2", block("conv6_1", fifth).relu(), 2).relu()
    features = (first, second, third, fourth, fifth, sixth)
    levels = [conv(state, f"latlayer{index}", feature) for index, feature in enumerate(features, 1)]
    for index in (2, 1, 0):
        product = levels[index] * upsampled(levels[index + 1], levels[index])
        levels[index] = conv(state, f"smooth{index + 1}", product)
    contexts = [inception(f"cpm{index}", level) for index, level in enumerate(levels, 1)]

    def head(name: str, x: Tensor) -> Tensor:
        return conv(state, f"{name}.conv3", block(f"{name}.conv2", block(f"{name}.conv1", x).relu()).relu())

    loc, conf = ([head(f"{kind}.{index}", y) for index, y in enumerate(contexts)] for kind in ("loc", "conf"))
    return [rows(loc, 4), rows(conf, 2).softmax(2)]


def dsfd(state: State, x: Tensor) -> list[Tensor]:
    def bottleneck(name: str, x: Tensor, stride: int) -> Tensor:
        y = norm(state, f"{name}.bn1", conv(state, f"{name}.conv1", x)).relu()
        y = norm(state, f"{name}.bn2", conv(state, f"{name}.conv2", y, stride)).relu()
        y = norm(state, f"{name}.bn3", conv(state, f"{name}.conv3", y))
        if f"{name}.downsample.0.weight" in state:
            x = norm(state, f"{name}.downsample.1", conv(state, f"{name}.downsample.0", x, stride))
        return (y + x).relu()

    x = F.max_pool2d(norm(state, "layer1.1", conv(state, "layer1.0", x, 2)).relu(), 3, 2, 1)
    levels = []
    for name, blocks in (("layer1.4", 3), ("layer2.0", 8), ("layer3.0", 36), ("layer4.0", 3)):
        for index in range(blocks):
            x = bottleneck(f"{name}.{index}", x, 2 if index == 0 and name != "layer1.4" else 1)
        levels.append(x)
    for name in ("layer5", "layer6"):
        x = norm(state, f"{name}.1", conv(state, f"{name}.0", x)).relu()
        x = norm(state, f"{name}.4", conv(state, f"{name}.3", x, 2)).relu()
        levels.append(x)
    for index in (2, 1, 0):
        above = conv(state, f"latlayer{index + 1}", levels[index + 1])
        here = conv(state, f"smooth{index + 1}", levels[index])
        levels[index] = here * upsampled(above, here)
    loc, conf = [], []
    for index, name in enumerate(("cpm3_3", "cpm4_3", "cpm5_3", "cpm7", "cpm6_2", "cpm7_2")):
        wider = conv(state, f"{name}.cpm2", levels[index], dilation=2).relu()
        widest = conv(state, f"{name}.cpm4", wider, dilation=2).relu()
        fields = (
            conv(state, f"{name}.cpm1", levels[index]),
            conv(state, f"{name}.cpm3", wider),
            conv(state, f"{name}.cpm5", widest),
        )
        context = torch.cat(fields, 1).relu()
        found = []
        for head in (f"loc.{index}", f"conf.{index}"):
            y = context
            for part in ("conv1", "conv2", "conv3"):
                y = conv(state, f"{head}.{part}", y).relu()
            found.append(conv(state, f"{head}.conv4", y))
        loc.append(found[0][:, :4])
        best, last = found[1][:, :3].max(1, keepdim=True).values, found[1][:, 3:4]
        conf.append(torch.cat([best, last] if index == 0 else [last, best], 1))
    return [rows(loc, 4), rows(conf, 2).softmax(2)]
