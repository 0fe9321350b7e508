# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures of the system tests: the program, Debian's kernels, initramfs images, guests.

$TRAPEZE_BUILD names the build folder (`build` if unset), $TRAPEZE_CACHE where kernels are kept.
"""
import contextlib
import functools
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT / "demo")]

import guest as demo_guest  # noqa: E402  (demo/guest.py)
from console import Guest  # noqa: E402


@pytest.fixture(scope="session")
def build():
    """The build folder."""
    return pathlib.Path(os.environ.get("TRAPEZE_BUILD", ROOT / "build")).resolve()


@pytest.fixture(scope="session")
def trapeze(build):
    path = build / "trapeze"
    assert path.exists(), f"{path} is not built: run `make` first"
    return path


@pytest.fixture(scope="session")
def kernel():
    """FLAVOUR -> Debian's kernel of that flavour (demo/guest.py's Kernel)."""
    return functools.lru_cache(demo_guest.fetch_kernel)


@pytest.fixture(scope="session")
def initramfs(kernel, tmp_path_factory):
    """FLAVOUR, INIT (a script's text; the demo's if None) -> an initramfs image."""
    folder = tmp_path_factory.mktemp("initramfs")

    @functools.lru_cache
    def build(flavour="cloud-amd64", init=None):
        number = len(list(folder.iterdir()))
        script = None
        if init is not None:
            script = folder / f"init{number}"
            script.write_text(init)
        return demo_guest.build_initramfs(kernel(flavour), folder / f"{flavour}{number}.gz", script)

    return build


@pytest.fixture(scope="session")
def linux(kernel, initramfs):
    """FLAVOUR, APPEND, INIT -> the arguments that boot that kernel with the demo's initramfs."""
    def arguments(flavour="cloud-amd64", append="", init=None):
        return ["--kernel", kernel(flavour).image, "--initrd", initramfs(flavour, init),
                "--append", f"console=ttyS0 {append}".strip()]

    return arguments


@pytest.fixture
def start(trapeze, request, tmp_path):
    """ARGUMENTS... -> a running Guest, closed at the end of the test if not before."""
    with contextlib.ExitStack() as stack:
        def make(*arguments):
            log = tmp_path / f"console{len(stack._exit_callbacks)}.log"
            return stack.enter_context(Guest(trapeze, *arguments, log=log))

        yield make


@pytest.fixture
def disk(tmp_path):
    """NAME, SIZE in bytes -> the path of a new image, all holes."""
    def make(name="disk.img", size=64 << 20):
        path = tmp_path / name
        with open(path, "wb") as file:
            file.truncate(size)
        return path

    return make


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    """A multiboot test image of images/: "elf" or "flat", NAME -> its path, built once."""
    folder = tmp_path_factory.mktemp("images")

    @functools.lru_cache
    def build(kind="elf", name="image"):
        # Freestanding 32-bit code needs no 32-bit libraries.
        elf, flat = folder / f"{name}.elf", folder / f"{name}.flat"
        subprocess.run(["gcc", "-m32", "-O1", "-ffreestanding", "-fno-pic", "-no-pie", "-nostdlib",
                        "-static", "-fno-stack-protector", "-mgeneral-regs-only", "-Wall", "-Wextra",
                        "-Wl,-T," + str(HERE / "images/image.ld"), "-Wl,--build-id=none",
                        *(["-DADDRESSES"] if kind == "flat" else []),
                        HERE / "images/start.S", HERE / f"images/{name}.c", "-o", elf],
                       check=True)
        if kind == "elf":
            return elf.rename(folder / f"{name}-elf.flat")
        subprocess.run(["objcopy", "-O", "binary", elf, flat], check=True)
        return flat

    return build
