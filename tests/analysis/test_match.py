"""Which of a peer's nodes go with which of our kernels."""

from facedeploy.analysis.peer import PeerNode, match_nodes


def node(name, *layers, us=1.0):
    return PeerNode(name, "Convolution", layers, us)


def kernels_of(nodes, kernels):
    return [node.kernel for node in match_nodes(nodes, kernels)]


def test_node_goes_with_the_kernel_of_the_same_layer():
    assert kernels_of([node("x", "a"), node("y", "b")], [("b",), ("a",)]) == [1, 0]


def test_several_nodes_go_with_a_kernel_of_their_layers():
    assert kernels_of([node("x", "a"), node("reorder"), node("y", "b")], [("b", "a")]) == [0, None, 0]


def test_node_of_two_layers_goes_with_a_kernel_of_both():
    assert kernels_of([node("x", "a", "b"), node("y", "c")], [("a", "b", "c")]) == [0, 0]


def test_node_that_computes_more_than_a_kernel_goes_with_none():
    assert kernels_of([node("x", "a", "b")], [("a",), ("b",)]) == [None]


def test_kernel_of_which_a_layer_is_not_found_goes_with_none():
    assert kernels_of([node("x", "a"), node("y", "c")], [("a", "b"), ("c",)]) == [None, 1]


def test_layer_in_two_nodes_is_matched_with_none():
    assert kernels_of([node("x", "a"), node("y", "a")], [("a",)]) == [None, None]


def test_kernels_without_names_match_nothing():
    assert kernels_of([node("x"), node("y", "a")], [(), ()]) == [None, None]
