"""`facedeploy list`."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from facedeploy.core.shown import size_text

DESCRIPTION = """What there is: detectors, with the names that build_detector takes; checkpoints known by their content;
heads, targets; and the build configs and vdsp JSONs that come with facedeploy, whose files other verbs find from any
folder. Detectors "from" pytorch are exported (export --model_name); the others compile from their own files.

  facedeploy list
  facedeploy list configs
  facedeploy list targets --json"""

Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("what", nargs="?", choices=KINDS, metavar="|".join(KINDS), help="one of them (default: all)")
    add("--json", action="store_true", help="print JSON in place of tables")


def run(arguments: argparse.Namespace) -> int:
    """Print what is asked for."""
    found = {what: list_all() for what, list_all in KINDS.items() if arguments.what in (None, what)}
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        print("\n\n".join("\n".join([f"{what}:", *table(rows)]) for what, rows in found.items()))
    return 0


def detectors() -> list[Row]:
    """`build_detector` takes each by its `name` and those in `also`; `export --model_name` those from pytorch."""
    from facedeploy.artifact.named import DETECTORS, shipped_config
    from facedeploy.config.load import load_build_config
    from facedeploy.config.shipped import BUILD, shipped_configs
    from facedeploy.image.process_ops import normalization_of
    from facedeploy.models.specs import MODELS

    files = shipped_configs(BUILD)
    rows = []
    for name, also in DETECTORS.items():
        config, spec = load_build_config(files[shipped_config(name)]), MODELS.get(name)
        assert config.graph is not None and config.dataset is not None
        rows.append(
            {
                "name": name,
                "also": list(also),
                "from": "pytorch" if spec else config.frontend.type,
                "head": config.graph.extra_ops.type,
                "parameters": spec.parameters if spec else None,
                "input": f"N x 3 x H x W, {normalization_of(config.dataset.process_ops)}",
                "default_weights": spec.default_weights if spec else None,
            }
        )
    return rows


def checkpoints() -> list[Row]:
    """Files that are told by their hash, whatever their name."""
    from facedeploy.export.known_checkpoints import KNOWN_CHECKPOINTS

    return [
        {"sha256": digest, "model": known.model, "what": known.title} for digest, known in KNOWN_CHECKPOINTS.items()
    ]


def heads() -> list[Row]:
    """`graph.extra_ops.type` of a build config."""
    from facedeploy.config.extra_ops import EXTRA_OPS

    return [{"head": name} for name in EXTRA_OPS]


def targets() -> list[Row]:
    """`backend.target` of a build config."""
    from facedeploy.compiler.target import lacking_features, resolve_target

    named = [
        {"target": name, "runs_here": not lacking, "note": f"lacks {', '.join(lacking)}" if lacking else ""}
        for name, lacking in lacking_features().items()
    ]
    return [{"target": "host", "runs_here": True, "note": f"is {resolve_target('host').name}"}, *named]


def configs() -> list[Row]:
    """`compile`'s argument. A canvas is height x width, px."""
    from facedeploy.config.load import load_build_config
    from facedeploy.config.shipped import BUILD, shipped_configs

    rows = []
    for file, path in shipped_configs(BUILD).items():
        config = load_build_config(path)
        frontend = config.frontend
        rows.append(
            {
                "config": file,
                "name": config.name,
                "net": Path(frontend.checkpoint).name,
                "type": frontend.type,
                "dtype": config.backend.dtype,
                "canvas": ", ".join(dict.fromkeys(size_text((shape[2], shape[3])) for shape in frontend.shapes)),
            }
        )
    return rows


def vdsp_params() -> list[Row]:
    """`run --vdsp_params_info`. A canvas is height x width, px."""
    from facedeploy.config.shipped import VDSP, shipped_configs
    from facedeploy.config.vdsp_params import load_vdsp_params
    from facedeploy.core.normalization import Normalization

    rows = []
    for file, path in shipped_configs(VDSP).items():
        params = load_vdsp_params(path)
        rows.append(
            {
                "vdsp_params": file,
                "operator": params.op_type,
                "canvas": size_text(params.canvas_hw),
                "input": str(Normalization.of(params.norma_type, params.color_order, params.mean, params.std)),
            }
        )
    return rows


KINDS: dict[str, Callable[[], list[Row]]] = {
    "detectors": detectors,
    "checkpoints": checkpoints,
    "heads": heads,
    "targets": targets,
    "configs": configs,
    "vdsp_params": vdsp_params,
}

SHORT_HASH = 12  # Characters of one, in a table.


def table(rows: Sequence[Row]) -> list[str]:
    """Aligned lines, numbers to the right."""
    from facedeploy.core.table import aligned

    numbers = {name for name, value in rows[0].items() if isinstance(value, int) and not isinstance(value, bool)}
    left = {place for place, name in enumerate(rows[0]) if name not in numbers}
    header = tuple(name.replace("_", " ") for name in rows[0])
    return aligned([header, *([_cell(*entry) for entry in row.items()] for row in rows)], left)


def _cell(name: str, value: Any) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)[:SHORT_HASH] if name == "sha256" else str(value)
