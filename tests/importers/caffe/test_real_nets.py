"""The published Caffe conversions of RetinaFace compute what Caffe's definitions say of their files."""

import caffe_net
import numpy as np
import pytest


@pytest.mark.parametrize("shape", [(1, 3, 96, 128), (2, 3, 76, 100)], ids=["even", "cropped"])
@pytest.mark.parametrize("name", ["mnet25", "mnet-deconv-0517"])
def test_real_net_agrees_with_the_definitions(shared_data, agrees, name, shape) -> None:
    from facedeploy.importers.caffe.to_onnx import import_caffe

    prototxt, caffemodel = (shared_data / "weights/caffe" / f"{name}.{kind}" for kind in ("prototxt", "caffemodel"))
    if not prototxt.is_file() or not caffemodel.is_file():
        pytest.skip(f"{prototxt} and {caffemodel} are not there")
    model = import_caffe(prototxt, caffemodel, shape)
    image = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    expected = caffe_net.run(prototxt.read_text(), caffe_net.read_blobs(caffemodel), image)
    assert list(expected)[:3] == [
        "face_rpn_cls_prob_reshape_stride32",
        "face_rpn_bbox_pred_stride32",
        "face_rpn_landmark_pred_stride32",
    ]
    agrees(model, expected, image)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Slice") == (2 if shape[2] == 76 else 0)
    assert not {"Mul", "Pad"} & set(kinds), "a batch norm and its scale are one node"
