"""What every test runs under: strict promotion, shapes checked, real data or a reason why not.

And where recorded runs are found, with iCaRL's: its ResNet-18's tensors by their recorded names, and back.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import resource
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import equinox as eqx
import hypothesis
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from jax._src import compiler

if TYPE_CHECKING:
    from perdure.models import ResNet18

os.environ.setdefault("MPLBACKEND", "agg")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jaxtyping.install_import_hook("perdure", "beartype.beartype")  # checks what is imported from here on

# The first example of a property test compiles; how long that takes says nothing about the property.
hypothesis.settings.register_profile("perdure", deadline=None)
hypothesis.settings.load_profile("perdure")

SLOW_TO_COMPILE = ("xla_cpu_use_fusion_emitters",)
"""What takes XLA four tenths of the time to compile on CPU, beside what JAX's own switch leaves out."""
COMPILED = pytest.StashKey[TemporaryDirectory]()
RECORDINGS = Path(__file__).parent / "reference"
REFERENCE = Path(os.environ.get("PERDURE_REFERENCE") or RECORDINGS).resolve()
"""The folder of recorded runs; each test marked `reference` replays every recording of its program that is there."""


def pytest_configure(config):
    """Compile each program once for all tests, worker processes and command lines: most of the time goes there."""
    if not REFERENCE.is_dir():
        raise pytest.UsageError(
            f"PERDURE_REFERENCE names {REFERENCE}, which is no folder; give one that holds recorded runs in subfolders "
            f"such as mer and oml, or unset it to replay those of {RECORDINGS}"
        )
    if not hasattr(config, "workerinput"):
        config.stash[COMPILED] = TemporaryDirectory(prefix="perdure-tests-")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = config.stash[COMPILED].name
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pytest_unconfigure(config):
    """Delete the compiled programs."""
    if COMPILED in config.stash:
        config.stash[COMPILED].cleanup()


def real_data(pattern: str) -> Path:
    """Return the folder with the real data files, which must hold one like `pattern`.

    Where it does not, the test is skipped: who has no data can still run the others. With PERDURE_REQUIRE_DATA set, as
    where it is decided whether a change lands, it fails.
    """
    folder = Path(os.environ.get("PERDURE_DATA", ""))
    if not list(folder.glob(pattern)):
        absent = f"no real data: set PERDURE_DATA to a folder that holds {pattern}"
        if os.environ.get("PERDURE_REQUIRE_DATA"):
            pytest.fail(absent)
        pytest.skip(absent)
    return folder.resolve()


def reference_files(program: str, pattern: str) -> list[Path]:
    """Return a program's recordings whose names match, to parametrize a test by: `reference_files("mer", "ewc*.npz")`.

    A folder given by PERDURE_REFERENCE need not hold recordings of each kind: tests of the others are skipped.
    """
    found = sorted((REFERENCE / program).glob(pattern))
    if not found and REFERENCE == RECORDINGS:
        raise FileNotFoundError(f"no recording {program}/{pattern} in {REFERENCE}, expected at least one")
    return found


def reference_file(program: str, name: str) -> Path:
    """Return a program's recording of this name; the test is skipped where PERDURE_REFERENCE has none."""
    if not reference_files(program, name):
        pytest.skip(f"no recording {program}/{name} in {REFERENCE}")
    return REFERENCE / program / name


def load_module(name: str, path: Path):
    """Return the module in a file that is in no package."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def first_short(values, n: int = 1) -> list:
    """Return values to parametrize a test by; all but the first `n` are marked as long."""
    return [value if place < n else _long(value) for place, value in enumerate(values)]


def _long(value):
    return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.long)


def pytest_make_parametrize_id(val):
    """Name a test of a file after the file."""
    return val.stem if isinstance(val, Path) else None


MAX_MAPS = 30_000
"""Places that a process has mapped into its memory, at which tests let go of compiled programs; Linux allows 65,530."""


@pytest.fixture
def types_unchecked():
    """Calls of other types than those promised reach the code, as they do for users."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Let go of compiled programs once there are many: each maps memory, and a process may map only so much."""
    yield
    maps = Path("/proc/self/maps")
    if not maps.exists() or maps.read_bytes().count(b"\n") > MAX_MAPS:
        jax.clear_caches()


def with_options_for_speed(get_compile_options):
    """Return JAX's function that tells XLA how to compile, so that it leaves out what `SLOW_TO_COMPILE` names."""

    def get(*arguments, env_options_overrides=None, **options):
        overrides = dict.fromkeys(SLOW_TO_COMPILE, False) | (env_options_overrides or {})
        return get_compile_options(*arguments, env_options_overrides=overrides, **options)

    return get


# XLA reads its flags once, at the first program: before a fixture sets them for the processes that tests start.
jax.block_until_ready(jax.jit(lambda: 0)())


@pytest.fixture(scope="module", autouse=True)
def compile_quickly(request):
    """Have programs compiled fast, not well, here and in processes started from here.

    Most programs of tests run for milliseconds. Not for modules marked `optimized`, which compare arithmetic with what
    was recorded of optimized programs, and not for those that learn from real data.
    """
    if any(request.node.get_closest_marker(name) for name in ("optimized", "real_data")):
        jax.clear_caches()  # a program that another module has had compiled fast would be used again
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        patch.setenv(
            "XLA_FLAGS", " ".join([os.environ.get("XLA_FLAGS", ""), *(f"--{it}=false" for it in SLOW_TO_COMPILE)])
        )
        jax.config.update("jax_disable_most_optimizations", True)
        patch.setattr(compiler, "get_compile_options", with_options_for_speed(compiler.get_compile_options))
        yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder with the real MNIST files; tests that use it carry the mark `real_data`."""
    return real_data("mnist/train-images*")


@pytest.fixture(scope="session")
def real_omniglot_dir() -> Path:
    """The folder with the real Omniglot archives; tests that use it carry the mark `real_data`."""
    return real_data("omniglot/images_*.zip")


@pytest.fixture
def x64():
    """Float64 for one test, as the recorded reference runs have it."""
    with jax.enable_x64(True):
        yield


class Disk:
    """Ways for the operating system to refuse a write."""

    @staticmethod
    @contextlib.contextmanager
    def limit(size: int = 300):
        """Let the kernel refuse to write files beyond a size (Python ignores the signal that comes with it)."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    @staticmethod
    @contextlib.contextmanager
    def full():
        """Have no space when a file is to reach the disk."""

        def no_space(descriptor):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", no_space)
            yield


@pytest.fixture(scope="session")
def disk() -> Disk:
    """Contexts in which the disk refuses what is written."""
    return Disk()


class RecordedRun(NamedTuple):
    """A recorded run of iCaRL: numbers under the names of tests/reference/mer, and the network they belong to."""

    numbers: dict[str, np.ndarray]

    def model(self, moment: str, dtype: type) -> ResNet18:
        """Return the network as it was at a recorded moment, such as ``init`` or ``after_batch0``."""
        from perdure.models import ResNet18

        width, n_outputs = int(self.numbers["resnet_base_width"]), int(self.numbers["n_outputs"])
        n_channels = self.numbers[f"{moment}.conv1.weight"].shape[1]
        model = eqx.filter_eval_shape(lambda key: ResNet18(n_channels, n_outputs, width, key=key), jax.random.key(0))
        leaves = [jnp.asarray(_turned(self.numbers[f"{moment}.{name}"], 2, 3, 1, 0), dtype) for name in named(model)]
        return eqx.tree_at(lambda it: list(named(it).values()), model, leaves)

    def images(self, pixels: np.ndarray, dtype: type) -> jax.Array:
        """Return recorded pixels (..., channels · 32 · 32) as images, (n, channels, 32, 32)."""
        return jnp.asarray(pixels.reshape(-1, pixels.shape[-1] // 32**2, 32, 32) / 256, dtype)

    def batch(self, number: int, dtype: type) -> tuple[jax.Array, jax.Array]:
        """Return images and labels of a training batch."""
        rows = slice(self.numbers["batch_start"][number], self.numbers["batch_end"][number])
        return self.images(self.numbers["stream_x_uint8"][rows], dtype), jnp.asarray(self.numbers["stream_y"][rows])


def recorded_tensors(model: ResNet18) -> dict[str, np.ndarray]:
    """Return a network's leaves under their recorded names and in the recorded layout."""
    return {name: _turned(np.asarray(leaf), 3, 2, 0, 1) for name, leaf in named(model).items()}


def named(model: ResNet18) -> dict[str, jax.Array]:
    """Return the network's leaves under their recorded names, filters laid out (side, side, channels, filters)."""
    layers = {("conv1", "bn1"): model.stem}
    for n, block in enumerate(model.blocks):
        place = f"layer{n // 2 + 1}.{n % 2}"
        layers[f"{place}.conv1", f"{place}.bn1"] = block.first
        layers[f"{place}.conv2", f"{place}.bn2"] = block.second
        if block.shortcut is not None:
            layers[f"{place}.shortcut.0", f"{place}.shortcut.1"] = block.shortcut
    leaves = {}
    for (convolution, norm), layer in layers.items():
        leaves[f"{convolution}.weight"] = layer.filters
        leaves[f"{norm}.weight"], leaves[f"{norm}.bias"] = layer.norm.scale, layer.norm.shift
        leaves[f"{norm}.running_mean"] = layer.norm.running.mean
        leaves[f"{norm}.running_var"] = layer.norm.running.variance
    assert model.head.bias is not None
    return leaves | {"linear.weight": model.head.weight, "linear.bias": model.head.bias}


def _turned(tensor: np.ndarray, *axes: int) -> np.ndarray:
    return tensor.transpose(axes) if tensor.ndim == 4 else tensor


@pytest.fixture(scope="session", params=reference_files("mer", "icarl*.npz"))
def icarl_run(request) -> RecordedRun:
    """Each recorded run of iCaRL (tests/reference/README.md)."""
    with np.load(request.param) as file:
        return RecordedRun(dict(file))
