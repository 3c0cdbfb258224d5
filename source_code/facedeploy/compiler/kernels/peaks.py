"""Loops that do nothing but multiply-adds, or nothing but move memory: what a core can do at most."""

from typing import Any

from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.emit import accumulators, argument, kernel, load, splat, store

SUMS = 12  # Independent ones: enough for two units of four cycles each, and AVX2's 16 registers hold them.


def multiply_add_loop(name: str, threads: int, lanes: int, steps: int) -> Any:
    """`name(seeds (SUMS, lanes), out (threads, SUMS, lanes))`; a PrimFunc of `threads * steps * SUMS` vector FMAs.

    x becomes 0.5 x + 1 again and again: no step can start before the last, none can be left out, and x stays finite.
    """
    with kernel(name) as builder:
        seeds = argument("seeds", (SUMS, lanes))
        out = argument("out", (threads, SUMS, lanes))
        with T.parallel(0, threads) as part:
            (sums,) = accumulators(1, SUMS, lanes, lambda _: splat(0.0, lanes))
            for index in range(SUMS):
                store(sums, load(seeds, [index, 0], lanes), [index, 0], lanes)
            with T.serial(0, steps):
                for index in range(SUMS):
                    store(
                        sums, load(sums, [index, 0], lanes) * splat(0.5, lanes) + splat(1.0, lanes), [index, 0], lanes
                    )
            for index in range(SUMS):
                store(out, load(sums, [index, 0], lanes), [part, index, 0], lanes)
    return builder.get()


def triad_loop(name: str, threads: int, lanes: int, vectors: int) -> Any:
    """`name(b, c, a)`: a = b + 3 c, each of shape (threads, vectors, lanes): STREAM's triad; a PrimFunc."""
    with kernel(name) as builder:
        b, c, a = (argument(array, (threads, vectors, lanes)) for array in "bca")
        with T.parallel(0, threads) as part, T.serial(0, vectors) as index:
            place = [part, index, 0]
            store(a, load(b, place, lanes) + splat(3.0, lanes) * load(c, place, lanes), place, lanes)
    return builder.get()
