"""Give damaged images to a run: `python tests/bench/corrupt_images.py --count 1000 --model_prefix_path .../mod`.

25 kinds of damage are done to good JPEGs and PNGs (those of --images, else drawn) by a seeded generator. The run must
end in time and without a traceback; every image must have either a prediction file or a line in failures.jsonl; and the
kinds that leave nothing to decode must be in the report. Prints a line a kind; the exit code is 1 when something is
not so. Other options, such as --isolate, are the run's.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

SOURCE = Path(__file__).resolve().parents[2] / "source_code"
Damage = Callable[[random.Random, bytes], bytes]


def cut(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randrange(len(data) // 20, len(data) - 8)]


def header_only(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randrange(1, 20)]


def flip_bits(chance: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 40)):
        changed[chance.randrange(len(data) // 10, len(data) - 8)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def overwrite(chance: random.Random, data: bytes) -> bytes:
    return _replace(data, chance, chance.randbytes(chance.randint(4, 400)))


def zero(chance: random.Random, data: bytes) -> bytes:
    return _replace(data, chance, bytes(chance.randint(4, 2000)))


def fill_ff(chance: random.Random, data: bytes) -> bytes:
    return _replace(data, chance, b"\xff" * chance.randint(4, 400))


def remove_part(chance: random.Random, data: bytes) -> bytes:
    first, last = sorted(chance.sample(range(2, len(data) - 8), 2))
    return data[:first] + data[last:]


def repeat_part(chance: random.Random, data: bytes) -> bytes:
    first, last = sorted(chance.sample(range(2, len(data) - 8), 2))
    return data[:last] + data[first:]


def swap_parts(chance: random.Random, data: bytes) -> bytes:
    first, middle, last = sorted(chance.sample(range(2, len(data) - 8), 3))
    return data[:first] + data[middle:last] + data[first:middle] + data[last:]


def jpeg_without(marker: int) -> Damage:
    def remove(chance: random.Random, data: bytes) -> bytes:
        return b"".join(part for part in _segments(data) if part[1] != marker)

    return remove


def jpeg_wrong_length(chance: random.Random, data: bytes) -> bytes:
    parts = _segments(data)
    index = chance.randrange(1, len(parts) - 1)
    parts[index] = parts[index][:2] + chance.randbytes(2) + parts[index][4:]
    return b"".join(parts)


def jpeg_size(height: int, width: int) -> Damage:
    def resize(chance: random.Random, data: bytes) -> bytes:
        start = b"".join((height.to_bytes(2, "big"), width.to_bytes(2, "big")))
        return b"".join(part[:5] + start + part[9:] if part[1] == 0xC0 else part for part in _segments(data))

    return resize


def jpeg_components(chance: random.Random, data: bytes) -> bytes:
    count = bytes([chance.choice([0, 2, 4, 200])])
    return b"".join(part[:9] + count + part[10:] if part[1] == 0xC0 else part for part in _segments(data))


def jpeg_bad_exif(chance: random.Random, data: bytes) -> bytes:
    content = b"Exif\0\0MM\0*" + chance.randbytes(60)
    return data[:2] + b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content + data[2:]


def png_without_header(chance: random.Random, data: bytes) -> bytes:
    return data[:8] + data[33:]


def png_size(height: int, width: int) -> Damage:
    def resize(chance: random.Random, data: bytes) -> bytes:
        header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + data[24:29]
        return data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]

    return resize


def png_wrong_checksum(chance: random.Random, data: bytes) -> bytes:
    return data[:29] + chance.randbytes(4) + data[33:]


def png_noise(chance: random.Random, data: bytes) -> bytes:
    """Noise in place of the compressed rows, under a right checksum."""
    chunk = b"IDAT" + chance.randbytes(1000)
    return data[:33] + (1000).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[-12:]


def empty(chance: random.Random, data: bytes) -> bytes:
    return b""


def noise(chance: random.Random, data: bytes) -> bytes:
    return chance.randbytes(chance.randint(1, 5000))


def web_page(chance: random.Random, data: bytes) -> bytes:
    return b"<!DOCTYPE html><title>404 Not Found</title>" * chance.randint(1, 50)


# (name, of which good image, what is done to it, whether nothing can be left to decode)
KINDS: tuple[tuple[str, str, Damage, bool], ...] = (
    ("jpeg cut short", ".jpg", cut, True),
    ("jpeg header only", ".jpg", header_only, True),
    ("jpeg bits flipped", ".jpg", flip_bits, False),
    ("jpeg bytes overwritten", ".jpg", overwrite, False),
    ("jpeg bytes zeroed", ".jpg", zero, False),
    ("jpeg bytes ff", ".jpg", fill_ff, False),
    ("jpeg part removed", ".jpg", remove_part, False),
    ("jpeg part repeated", ".jpg", repeat_part, False),
    ("jpeg parts swapped", ".jpg", swap_parts, False),
    ("jpeg without Huffman tables", ".jpg", jpeg_without(0xC4), False),  # Libraries have default ones.
    ("jpeg without quantization", ".jpg", jpeg_without(0xDB), True),
    ("jpeg without a frame", ".jpg", jpeg_without(0xC0), True),
    ("jpeg wrong segment length", ".jpg", jpeg_wrong_length, False),
    ("jpeg of no size", ".jpg", jpeg_size(0, 0), True),
    ("jpeg of a huge size", ".jpg", jpeg_size(65500, 65500), True),
    ("jpeg of other components", ".jpg", jpeg_components, False),
    ("jpeg with EXIF noise", ".jpg", jpeg_bad_exif, False),
    ("png cut short", ".png", cut, True),
    ("png bits flipped", ".png", flip_bits, False),
    ("png without header", ".png", png_without_header, True),
    ("png of a huge size", ".png", png_size(1 << 30, 1 << 30), True),
    ("png wrong checksum", ".png", png_wrong_checksum, False),
    ("png noise for pixels", ".png", png_noise, True),
    ("empty, noise", ".jpg", lambda chance, data: chance.choice([empty, noise])(chance, data), True),
    ("web page", ".png", web_page, True),
)


def _replace(data: bytes, chance: random.Random, part: bytes) -> bytes:
    start = chance.randrange(2, max(3, len(data) - len(part) - 8))
    return data[:start] + part + data[start + len(part) :]


def _segments(jpeg: bytes) -> list[bytes]:
    """The start, each segment, and from the scan on the rest: joined they are the file."""
    parts, position = [jpeg[:2]], 2
    while jpeg[position + 1] != 0xDA:
        end = position + 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
        parts.append(jpeg[position:end])
        position = end
    return [*parts, jpeg[position:]]


def good_images(folder: Path | None) -> list[dict[str, bytes]]:
    """JPEG and PNG of some pictures."""
    if folder:
        pictures = [cv2.imdecode(np.fromfile(path, np.uint8), 1) for path in sorted(folder.rglob("*.jpg"))]
        pictures = [picture for picture in pictures if picture is not None][:20]
    else:
        random_bytes = np.random.default_rng(0)
        pictures = [
            cv2.resize(random_bytes.integers(0, 256, (12, 16, 3), np.uint8), (200 + 30 * index, 150))
            for index in range(4)
        ]
    return [{suffix: cv2.imencode(suffix, picture)[1].tobytes() for suffix in (".jpg", ".png")} for picture in pictures]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--model_prefix_path", required=True)
    parser.add_argument("--images", type=Path, help="a folder of good JPEGs to damage")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=900, help="seconds the run may take")
    options, words_of_run = parser.parse_known_args()
    chance, good = random.Random(options.seed), good_images(options.images)
    with TemporaryDirectory() as temporary:
        folder, kinds = Path(temporary), {}
        (folder / "images").mkdir()
        for index in range(options.count):
            _, suffix, damage, _ = KINDS[index % len(KINDS)]
            name = f"{index:05}"
            kinds[name] = index % len(KINDS)
            (folder / "images" / f"{name}{suffix}").write_bytes(damage(chance, chance.choice(good)[suffix]))
        words = ["--file_path", folder / "images", "--save_dir", folder / "out"]
        words += ["--model_prefix_path", options.model_prefix_path, *words_of_run]
        return check(run([str(word) for word in words], options.timeout), folder / "out", kinds)


def run(words: list[str], timeout: float) -> "subprocess.CompletedProcess[str]":
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "facedeploy.cli.main", "run", *words],
        env={**os.environ, "PYTHONPATH": str(SOURCE), "TVM_BIND_THREADS": "0"},
        capture_output=True, text=True, errors="replace", timeout=timeout, check=False,
    )  # fmt: skip
    print(f"exit code {done.returncode} after {time.monotonic() - started:.1f} s: {done.stdout.strip()}")
    return done


def check(done: "subprocess.CompletedProcess[str]", out: Path, kinds: dict[str, int]) -> int:
    """Print what became of each kind; 1 when an image is unaccounted for, or is accounted for wrongly."""
    wrong = []
    if done.returncode != 1 or "Traceback" in done.stderr:
        wrong.append(f"the run ended with {done.returncode}: {done.stderr[-2000:]}")
    report = (out / "failures.jsonl").read_text(encoding="ascii") if (out / "failures.jsonl").exists() else ""
    entries = [json.loads(line) for line in report.splitlines()]
    reasons = {entry["name"]: entry["reason"] for entry in entries}
    predicted = {path.stem for path in out.glob("*.txt")}
    wrong += [f"{name} is in the report twice" for name in reasons if len(reasons) != len(entries)][:1]
    wrong += [f"{name} has no result and no reason" for name in kinds if name not in reasons and name not in predicted]
    wrong += [f"{name} has a result and a reason" for name in reasons if name in predicted]
    for index, (kind, _, _, hopeless) in enumerate(KINDS):
        names = [name for name in kinds if kinds[name] == index]
        failed = [name for name in names if name in reasons]
        print(f"{kind:<28} {len(failed):>4} of {len(names):>4} in the report: {sorted({reasons[n] for n in failed})}")
        wrong += [f"{name} ({kind}) was decoded" for name in names if hopeless and name not in reasons]
    print(f"{len(kinds)} images: {len(reasons)} in the report, {len(predicted)} with a prediction file")
    for sentence in wrong[:20]:
        print(f"WRONG: {sentence}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
