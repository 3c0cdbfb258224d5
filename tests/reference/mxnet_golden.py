"""What MXNet itself computes of a small net, for tests/importers/mxnet/test_golden.py. Run by hand, with MXNet 1.9.1:

    python3.8 -m venv mx && mx/bin/pip install mxnet==1.9.1 'numpy<1.24'
    MXNET_SUBGRAPH_BACKEND=NONE MXNET_MKLDNN_ENABLED=0 mx/bin/python tests/reference/mxnet_golden.py

With the first setting left out MXNet 1.9.1 fuses residual additions into convolutions, and what it computes of them is
wrong; with the second it refuses a deconvolution that has an adj.
Writes tests/importers/mxnet/golden/net-{symbol.json,0000.params,outputs.npz}: MXNet's own files, some 50 kB.
"""

import os
from pathlib import Path

import mxnet as mx
import numpy as np

SHAPE = (2, 3, 9, 7)
FOLDER = Path(__file__).resolve().parents[1] / "importers/mxnet/golden"


def heads():
    sym = mx.sym
    data = sym.Variable("data")
    conv = sym.Convolution(data, kernel=(3, 2), stride=(2, 1), pad=(1, 0), dilate=(1, 2), num_filter=4, name="conv")
    yield conv
    yield sym.Convolution(conv, kernel=(3, 3), num_group=2, num_filter=6, no_bias=True, name="grouped")
    yield sym.Deconvolution(conv, kernel=(4, 3), stride=(2, 2), pad=(1, 0), adj=(1, 0), num_filter=3, name="up")
    yield sym.Deconvolution(
        conv,
        kernel=(4, 4),
        stride=(2, 2),
        target_shape=(11, 10),
        num_filter=4,
        num_group=4,
        no_bias=False,
        name="target",
    )
    yield sym.BatchNorm(conv, name="fixed")
    norm = sym.BatchNorm(conv, fix_gamma=False, eps=2e-5, name="free")
    yield norm
    for kind in ("relu", "sigmoid", "tanh", "softrelu", "softsign"):
        yield sym.Activation(norm, act_type=kind, name=kind)
    yield sym.LeakyReLU(norm, name="leaky")
    yield sym.LeakyReLU(norm, act_type="elu", slope=0.5, name="elu")
    yield sym.LeakyReLU(norm, act_type="prelu", name="prelu")
    wide = sym.UpSampling(data, scale=2, sample_type="nearest", num_args=1, name="wide")
    yield wide
    yield sym.Crop(wide, data, num_args=2, offset=(3, 2), name="crop")
    yield sym.Crop(wide, num_args=1, h_w=(7, 6), center_crop=True, name="centered")
    for kind in ("max", "avg"):
        for convention in ("valid", "full"):
            name = f"{kind}_{convention}"
            yield sym.Pooling(
                data, kernel=(3, 4), stride=(2, 3), pad=(1, 1), pool_type=kind, pooling_convention=convention, name=name
            )
        yield sym.Pooling(data, kernel=(1, 1), global_pool=True, pool_type=kind, name=f"{kind}_everywhere")
    yield sym.Pooling(
        data, kernel=(3, 4), stride=(2, 3), pad=(1, 1), pool_type="avg", pooling_convention="full",
        count_include_pad=False, name="avg_inside",
    )  # fmt: skip
    for index, codes in enumerate([(0, 2, -1, 0), (0, -4, 2, -1, -2), (-3, 0, -1), (0, 0, -3), (0, -1)]):
        yield sym.Reshape(conv, shape=codes, name=f"reshape{index}")
    yield sym.SoftmaxActivation(conv, name="instance")
    yield sym.SoftmaxActivation(conv, mode="channel", name="channel")
    yield sym.softmax(conv, axis=1, name="softmax_one")
    yield sym.softmax(conv, name="softmax_last")
    yield sym.SoftmaxOutput(conv, name="output_flat")
    yield sym.SoftmaxOutput(conv, multi_output=True, name="output_channel")
    yield sym.SoftmaxOutput(conv, preserve_shape=True, name="output_last")
    yield sym.slice_axis(conv, axis=1, begin=-3, end=-1, name="slice_some")
    yield sym.slice_axis(conv, axis=2, begin=2, end=None, name="slice_rest")
    yield sym.Concat(conv, norm, conv, dim=1, name="concat")
    yield sym.Flatten(conv, name="flatten")
    yield sym.Dropout(sym.elemwise_add(conv, norm, name="sum"), p=0.5, name="dropout")
    yield sym.broadcast_mul(sym.Pooling(conv, kernel=(1, 1), global_pool=True, pool_type="avg"), norm, name="scaled")
    away = norm + 20
    yield from (away - 1.5, 1.5 - away, away * 0.3, away / 0.3, 0.3 / away)


def main():
    settings = [os.environ.get(f"MXNET_{name}") for name in ("SUBGRAPH_BACKEND", "MKLDNN_ENABLED")]
    assert settings == ["NONE", "0"], "see above"
    net = mx.sym.Group(list(heads()))
    random = np.random.RandomState(0)
    shapes, _, statistics = net.infer_shape(data=SHAPE)

    def drawn(names, sides):
        low = {name: 0.5 if name.endswith(("gamma", "var")) else -1 for name in names}
        return {name: mx.nd.array(random.uniform(low[name], 1.5, sides[at])) for at, name in enumerate(names)}

    arguments = drawn(net.list_arguments(), shapes)
    auxiliary = drawn(net.list_auxiliary_states(), statistics)
    bound = net.bind(mx.cpu(), arguments, aux_states=auxiliary, grad_req="null")
    outputs = [output.asnumpy() for output in bound.forward(is_train=False)]
    FOLDER.mkdir(exist_ok=True)
    net.save(str(FOLDER / "net-symbol.json"))
    stored = {f"arg:{name}": array for name, array in arguments.items() if name != "data" and "label" not in name}
    mx.nd.save(str(FOLDER / "net-0000.params"), {**stored, **{f"aux:{name}": auxiliary[name] for name in auxiliary}})
    named = {name: outputs[at] for at, name in enumerate(net.list_outputs())}
    np.savez_compressed(str(FOLDER / "net-outputs.npz"), data=arguments["data"].asnumpy(), **named)


if __name__ == "__main__":
    main()
