"""What every test runs under: strict promotion, shapes checked, real data or a reason why not."""

import os
from pathlib import Path

import jax
import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("MPLBACKEND", "agg")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
install_import_hook("perdure", "beartype.beartype")


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder with the real MNIST files; tests that use it carry the mark `real_data`."""
    folder = Path(os.environ.get("PERDURE_DATA", "")) / "mnist"
    if not (folder / "train-images-idx3-ubyte.gz").exists():
        pytest.skip("no MNIST files: set PERDURE_DATA to the folder that holds mnist/train-images-idx3-ubyte.gz")
    return folder.parent.resolve()


@pytest.fixture
def x64():
    """Float64 for one test, as the recorded reference runs have it."""
    with jax.enable_x64(True):
        yield
