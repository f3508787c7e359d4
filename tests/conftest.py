"""What every test runs under: strict promotion, shapes checked, real data or a reason why not."""

import os
from pathlib import Path

import hypothesis
import jax
import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("MPLBACKEND", "agg")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
install_import_hook("perdure", "beartype.beartype")
# The first example of a property test compiles; how long that takes says nothing about the property.
hypothesis.settings.register_profile("perdure", deadline=None)
hypothesis.settings.load_profile("perdure")


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder with the real MNIST files; tests that use it carry the mark `real_data`.

    Where the files are absent such tests are skipped; with PERDURE_REQUIRE_DATA set, they fail.
    """
    folder = Path(os.environ.get("PERDURE_DATA", ""))
    if not list(folder.glob("mnist/train-images*")):
        wanted = "set PERDURE_DATA to the folder that holds mnist/train-images-idx3-ubyte.gz and the other files"
        if os.environ.get("PERDURE_REQUIRE_DATA"):
            pytest.fail(f"the real data are required and absent: {wanted}")
        pytest.skip(f"no MNIST files: {wanted}")
    return folder.resolve()


@pytest.fixture
def x64():
    """Float64 for one test, as the recorded reference runs have it."""
    with jax.enable_x64(True):
        yield
