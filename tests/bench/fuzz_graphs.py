"""Compile random graphs and compare them with onnxruntime: `python tests/bench/fuzz_graphs.py --count 2000`.

Prints a line for each seed that fails, now and then how far it is, and a summary; a graph that onnxruntime refuses
counts as refused.
`--first N --count 1` repeats one; `--save DIR` keeps its ONNX.
"""

import argparse
import os
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).parents[1] / "compiler"))
sys.path.insert(0, str(Path(__file__).parents[2] / "source_code"))
from random_graph import RandomGraph

os.environ.setdefault("TVM_BIND_THREADS", "0")  # Else tvm ties all that follows to one CPU.
PROGRESS = 50  # Graphs from one line that tells how far it is to the next.
LEVELS = ("x86-64-v4", "x86-64-v3", "x86-64-v2")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--steps", type=int, default=3, help="steps a graph")
    parser.add_argument("--timeout", type=float, default=300, help="seconds a graph may take")
    parser.add_argument("--save", type=Path, help="folder for the models that fail")
    options = parser.parse_args()
    counts = {"equal": 0, "mismatch": 0, "refused": 0, "crash": 0}
    pool = None
    for seed in range(options.first, options.first + options.count):
        pool = pool or ProcessPoolExecutor(1, get_context("spawn"))
        try:
            verdict, detail = pool.submit(check, seed, options.steps).result(options.timeout)
        except BrokenProcessPool:
            pool, verdict, detail = None, "crash", "the process died"
        except TimeoutError:
            for process in pool._processes.values():
                process.kill()
            pool, verdict, detail = None, "crash", f"no end after {options.timeout:.0f} s"
        counts[verdict] += 1
        if sum(counts.values()) % PROGRESS == 0:
            print(f"seed {seed}: {counts}", flush=True)
        if verdict != "equal":
            print(f"seed {seed}: {verdict}: {detail}", flush=True)
            if options.save:
                options.save.mkdir(parents=True, exist_ok=True)
                onnx.save(RandomGraph(seed).model(options.steps), options.save / f"{seed}.onnx")
    print(
        f"{sum(counts.values())} graphs, {counts['mismatch']} mismatches, {counts['crash']} crashes, "
        f"{counts['refused']} refused with a clear error"
    )
    return int(counts["mismatch"] + counts["crash"] > 0)


def check(seed: int, steps: int) -> tuple[str, str]:
    """One graph: equal, mismatch, refused or crash, and what there is to say of it."""
    from differential import BOUND, reference, worst_difference

    from facedeploy.compiler.target import host_features, resolve_target
    from facedeploy.core.errors import CompileError

    graph = RandomGraph(seed)
    model = graph.model(steps)
    image = graph.rng.normal(0, 1, graph.shape).astype(np.float32)
    try:
        reference(model, image)
    except Exception as error:  # Of types that onnxruntime does not publish.
        return "refused", f"by onnxruntime: {error}"
    target = resolve_target(LEVELS[seed % len(LEVELS)])
    if not all(host_features().get(feature, False) for feature in target.features):
        target = resolve_target("host")
    try:
        worst = worst_difference(model, image, target)
    except CompileError as error:
        return "refused", str(error)
    except Exception:
        return "crash", traceback.format_exc(limit=-2).replace("\n", " | ")[-600:]
    if worst <= BOUND:
        return "equal", ""
    return "mismatch", f"{worst:.2g} for {target.name}, opset {graph.opset}"


if __name__ == "__main__":
    sys.exit(main())
