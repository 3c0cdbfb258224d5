"""`make demo`: the whole flow on a small dataset that needs no download. Prints and runs the commands a user would.

Usage: python common/demo/demo.py [FOLDER]    everything is written to FOLDER, by default workspace/
"""

import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
NAME = "official_retinaface_fp32"
JSON = "vdsp_params/official-retinaface_mobilenet0.25-vdsp_params.json"


def commands(repository: Path) -> list[list[str]]:
    """The flow: export, compile, stream, evaluate, measure."""
    prefix, pictures = f"deploy_weights/{NAME}/mod", "demo_wider"
    return [
        ["python", f"{repository}/source_code/export.py", "--size", "640"],
        ["vamc", "compile", f"{repository}/build_in/build/official_retinaface.yaml"],
        [
            *("python", f"{repository}/build_in/vsx/python/vsx.py", "--file_path", pictures),
            *("--model_prefix_path", prefix, "--vdsp_params_info", f"{repository}/{JSON}"),
            *("--save_dir", "demo_result", "--device", "0", "--draw"),
        ],
        [
            *("python", f"{repository}/common/eval/evaluation.py", "-p", "demo_result"),
            *("-g", f"{pictures}/ground_truth"),
        ],
        [
            *("vamp", "-m", prefix, "--vdsp_params", f"{repository}/{JSON}"),
            *("-i", "1", "-p", "1", "-b", "1", "--iterations", "20"),
        ],
    ]


def main(folder: Path) -> int:
    """Compose the dataset, run the commands in `folder`; returns the exit code of the first that fails, or 0."""
    sys.path.insert(0, str(REPOSITORY / "source_code"))
    from compose import compose

    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    count = compose(folder / "demo_wider")
    print(f"composed {count} pictures with known faces in {folder / 'demo_wider'}")
    for command in commands(REPOSITORY):
        print(f"\n$ {' '.join(command)}", flush=True)
        # The environment's own programs, whether it is activated or not.
        program = [sys.executable] if command[0] == "python" else [str(Path(sys.executable).parent / command[0])]
        code = subprocess.run([*program, *command[1:]], cwd=folder, check=False).returncode
        if code:
            return code
    drawn = sorted(path.relative_to(folder) for path in (folder / "demo_result").rglob("*.jpg"))
    print(f"\n{len(drawn)} pictures with boxes and landmarks in {folder / 'demo_result'}, such as {drawn[0]}")
    print(f"done in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "workspace"))
