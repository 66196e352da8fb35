#!/usr/bin/env python3
"""Lets the registry's torch wheel load on a machine without CUDA's libraries (3 GB that a CPU never calls).

    cuda_stubs.py TORCH_LIB_FOLDER

libtorch_cuda.so is bound to them when torch is imported.  Each missing one becomes a small library in that folder whose
functions do nothing but answer 100, cudaErrorNoDevice: torch then reports no GPU and computes on the CPU, as its CPU
build does.  A torch that misses nothing (a CPU build, or CUDA installed) is left as it is.
"""
import glob
import re
import subprocess
import sys
import tempfile

CUDA = re.compile(r"(__cuda|cu[A-Z]|cuda|cublas|cudnn|cufft|cupti|curand|cusolver|cusparse|nccl|nvrtc|nvshmem)\w+")


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def versions(objects):
    """{symbol version: the library it is asked of}"""
    library, out = None, {}
    for line in output("objdump", "-p", *objects).splitlines():
        asked = re.match(r"  required from (\S+):", line)
        version = re.match(r"    0x\S+ 0x\S+ \d+ (\S+)", line)
        if asked:
            library = asked[1]
        elif version and library:
            out[version[1]] = library
    return out


def missing_functions(objects):
    """{name: version it is asked for, "" if none}"""
    wanted, there = {}, set()
    for kind, name in re.findall(r"^[0-9a-f ]{16} (\w) (\S+)$", output("nm", "-D", *objects), re.M):
        name, _, version = name.partition("@")
        if kind != "U":
            there.add(name)
        elif CUDA.fullmatch(name):
            wanted[name] = version
    return {name: version for name, version in wanted.items() if name not in there}


def stub(name):
    if name.endswith(("GetErrorString", "GetErrorName")):
        return f'const char *{name}(void) {{ return "no device"; }}\n'
    return f"long {name}(void) {{ return 100; }}\n"


def build(path, library, names):
    """names: {function: version it is asked for}"""
    nodes = {version: [n for n, v in names.items() if v == version] for version in {*names.values()} - {""}}
    with tempfile.NamedTemporaryFile("w", suffix=".map") as script:
        script.write("".join(f"{version} {{ global: {'; '.join(some)}; }};\n" for version, some in nodes.items()))
        script.flush()
        subprocess.run(["cc", "-shared", "-fPIC", "-w", f"-Wl,-soname,{library}", *([f"-Wl,--version-script={script.name}"] if nodes else []),
                        "-o", path, "-x", "c", "-"],
                       input="".join(stub(name) for name in names), text=True, check=True)


def main():
    folder = sys.argv[1]
    objects = glob.glob(f"{folder}/*.so")
    missing = sorted(set(re.findall(r"(\S+) => not found", output("ldd", *objects))))
    functions = missing_functions(objects) if missing else {}
    asked_of = versions(objects)
    for library in missing:
        build(f"{folder}/{library}", library,
              {name: version for name, version in functions.items() if asked_of.get(version, missing[0]) == library})
    print(f"cuda_stubs: {len(missing)} libraries, {len(functions)} functions")


main()
