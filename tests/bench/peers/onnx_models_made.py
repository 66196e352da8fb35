"""Makes the ONNX models in a process of its own (it needs torch, whose memory then goes again)."""
import subprocess
import sys


def paths(world, kind):
    """{"f32": path, "int8": path}; kind: embed or cross"""
    done = subprocess.run([sys.executable, "tests/bench/peers/onnx_models.py", world.model, kind, world.folder], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError("the export failed: " + done.stderr.strip().splitlines()[-1])
    return {precision: f"{world.folder}/{kind}.{precision}.onnx" for precision in ("f32", "int8")}
