# Configuration of lit, LLVM's test runner, for the tests under test/.
#
# Substitutions: %sputnik, %sputnik-opt and the other programs of build/bin as
# %<name>; %models and %shared (test data beside the repository) for folders;
# %run-aarch64 before an AArch64 executable. FileCheck, not and split-file are
# on the path.
#
# Features for REQUIRES: <arch>-pack, qemu-aarch64, ptxas (NVIDIA's assembler),
# no-cuda-driver, shared-data, root, two-cpus (the first two processors), long, and
# the host's instruction sets under LLVM's names (avx2, avx512bf16, ...).

import ctypes
import os
import platform
import re
import shutil
import subprocess

import lit.formats

config.name = "Sputnik"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".ll", ".test"]
config.excludes = ["unit", "fake-cuda", "fuzz", "golden", "Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.sputnik_binary_dir, "test")

programs = os.path.join(config.sputnik_binary_dir, "bin")
config.environment["PATH"] = os.pathsep.join(
    [programs, config.llvm_tools_dir, config.environment["PATH"]]
)

# Longer names first: a substitution replaces prefixes of other words too.
names = {"sputnik", "sputnik-opt", "fake-model"}
if os.path.isdir(programs):
    names |= set(os.listdir(programs))
for name in sorted(names, key=len, reverse=True):
    config.substitutions.append(("%" + name, os.path.join(programs, name)))

shared = os.environ.get(
    "SPUTNIK_SHARED_DATA",
    os.path.join(config.sputnik_source_dir, "..", "shared", "data"),
)
config.substitutions.append(("%shared", os.path.abspath(shared)))
if os.path.isdir(shared):
    config.available_features.add("shared-data")
config.substitutions.append(
    ("%models", os.path.join(config.sputnik_source_dir, "models"))
)
config.substitutions.append(
    ("%benchmark-scripts", os.path.join(config.sputnik_source_dir, "benchmarks"))
)
# `native` is the CPU, also where there is a GPU.
config.environment["CUDA_VISIBLE_DEVICES"] = ""
# A folder with a CUDA driver that needs no GPU.
config.substitutions.append(
    ("%fake-cuda", os.path.join(config.sputnik_binary_dir, "test", "fake-cuda"))
)

for arch in config.runtime_packs:
    config.available_features.add(arch + "-pack")
emulator = shutil.which("qemu-aarch64-static")
if platform.machine() == "aarch64":
    emulator = "env"
if emulator:
    config.available_features.add("qemu-aarch64")
    config.substitutions.append(("%run-aarch64", emulator))

if os.path.isfile(config.ptxas):
    config.available_features.add("ptxas")
    config.substitutions.append(("%ptxas", config.ptxas))
    version = subprocess.run([config.ptxas, "--version"], capture_output=True, text=True)
    release = re.search(r"release (\d+\.\d+)", version.stdout)
    if release:
        config.available_features.add("ptxas-" + release.group(1))

try:
    ctypes.CDLL("libcuda.so.1")
except OSError:
    config.available_features.add("no-cuda-driver")

if os.geteuid() == 0:
    config.available_features.add("root")
if {0, 1} <= os.sched_getaffinity(0):
    config.available_features.add("two-cpus")
if os.environ.get("SPUTNIK_LONG"):
    config.available_features.add("long")
    config.environment["SPUTNIK_LONG"] = "1"


def host_instruction_sets():
    """The flags of the first processor, spelled as LLVM does."""
    try:
        with open("/proc/cpuinfo") as info:
            for line in info:
                if line.startswith(("flags", "Features")):
                    flags = line.split(":", 1)[1].split()
                    # avx512_bf16 is avx512bf16, amx_int8 is amx-int8.
                    return {
                        flag.replace("amx_", "amx-").replace("_", "")
                        for flag in flags
                    }
    except OSError:
        pass
    return set()


config.available_features |= host_instruction_sets()
