"""A prototxt as layers that make each tensor once, though Caffe's may write into what they read."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from facedeploy.core.errors import CheckpointError
from facedeploy.core.shown import shown
from facedeploy.importers.caffe.prototxt import read_prototxt
from facedeploy.importers.caffe.settings import Settings

# What only training, or the choice of an engine, is about.
OF_TRAINING = ("param", "loss_weight", "phase", "propagate_down", "include", "exclude")
OF_NET = ("name", "force_backward", "debug_info", "layer", "input", "input_shape", "input_dim")


@dataclass(frozen=True)
class Layer:
    """`bottoms` are the tensors that it reads, `tops` those that it makes: the last one of a blob has its name."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    settings: Settings


@dataclass(frozen=True)
class Network:
    """The layers of the test phase in order; `outputs` are the blobs that none of them reads, as they are made.

    `input_shape` is what the file says of the one input, if it does; `names` are those of all layers, of any phase.
    """

    name: str
    input: str
    input_shape: tuple[int, ...] | None
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...]
    names: frozenset[str]


def read_network(path: Path) -> Network:
    """Raises CheckpointError, which names file and line: not a net, or one whose blobs do not lead to each other."""
    settings = Settings(read_prototxt(path), path)
    if settings.has("layers"):
        raise CheckpointError(
            f"{path}: is in the format of Caffe before 2014 (layers): rewrite it with Caffe's upgrade_net_proto_text"
        )
    inputs = list(_declared_inputs(settings))
    layers = list[tuple[str, str, Settings]]()
    names = set[str]()
    for section in settings.sections("layer"):
        name, kind = section.text("name", ""), section.text("type")
        names.add(name)
        named = section.called(f"the layer {shown(name)} ({shown(kind)})")
        if not _runs_in_test_phase(named):
            continue
        if kind != "Input":
            layers.append((name, kind, named))
            continue
        tops = named.texts("top")
        shapes = [tuple(shape.integers("dim", 1)) for shape in named.section("input_param").sections("shape")]
        inputs += [(top, shapes[min(index, len(shapes) - 1)] if shapes else None) for index, top in enumerate(tops)]
        named.skip("name", "type", *OF_TRAINING)
        named.refuse_others()
    settings.skip(*OF_NET)
    settings.refuse_others(inside=False)  # Those of layers are for who knows their types.
    if len(inputs) != 1:
        got = ", ".join(shown(name) for name, _ in inputs) or "none"
        raise CheckpointError(f"{path}: has {len(inputs)} inputs ({got}), expected one image input")
    if not layers:
        raise CheckpointError(f"{path}: has no layers")
    (blob, shape), *_ = inputs
    resolved, outputs = _single_assignment(blob, layers)
    return Network(settings.text("name", ""), blob, shape, tuple(resolved), tuple(outputs), frozenset(names))


def _declared_inputs(settings: Settings) -> Iterator[tuple[str, tuple[int, ...] | None]]:
    """Those that stand at the top of older files."""
    shapes = [tuple(shape.integers("dim", 1)) for shape in settings.sections("input_shape")]
    sides = settings.integers("input_dim", 1)
    shapes = shapes or [tuple(sides[start : start + 4]) for start in range(0, len(sides), 4)]
    for index, name in enumerate(settings.texts("input")):
        yield name, shapes[index] if index < len(shapes) else None


def _runs_in_test_phase(layer: Settings) -> bool:
    def named_phases(key: str) -> list[str]:
        rules = layer.sections(key)
        for rule in rules:
            for other in ("min_level", "max_level", "stage", "not_stage"):
                if rule.has(other):
                    raise rule.error("is not supported, only phase is", other)
        return [rule.choice("phase", "TEST", ("TRAIN", "TEST", "0", "1")) for rule in rules]

    included, excluded = named_phases("include"), named_phases("exclude")
    tests = ("TEST", "1")
    return (not included or any(phase in tests for phase in included)) and not any(phase in tests for phase in excluded)


def _single_assignment(blob: str, layers: Sequence[tuple[str, str, Settings]]) -> tuple[list[Layer], list[str]]:
    writes = Counter(top for _, _, settings in layers for top in settings.texts("top"))
    taken = {blob, *writes}
    writes[blob] += 1
    written: Counter[str] = Counter()

    def next_tensor(name: str) -> str:
        written[name] += 1
        if written[name] == (1 if name == blob else writes[name]):  # The model's input keeps its name.
            return name
        tensor = f"{name}.{written[name]}"
        while tensor in taken:
            tensor += "_"
        taken.add(tensor)
        return tensor

    tensors = {blob: next_tensor(blob)}
    unread: dict[str, None] = {}
    resolved = list[Layer]()
    for name, kind, settings in layers:
        bottoms, tops = settings.texts("bottom"), settings.texts("top")
        for bottom in bottoms:
            if bottom not in tensors:
                raise settings.error(f"reads the blob {shown(bottom)}, which no layer before it makes", "bottom")
            unread.pop(bottom, None)
        read = tuple(tensors[bottom] for bottom in bottoms)
        for index, top in enumerate(tops):
            if top in tensors and bottoms[index : index + 1] != [top]:
                raise settings.error(f"makes the blob {shown(top)}, which is there already", "top")
            tensors[top] = next_tensor(top)
            unread[top] = None
        resolved.append(Layer(name, kind, read, tuple(tensors[top] for top in tops), settings))
        settings.skip("name", "type", *OF_TRAINING)
    return resolved, [tensors[name] for name in unread]
