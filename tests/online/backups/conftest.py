import pytest

from perdure.online.durable import DurableModel
from tests.online.backups.folders import SMALL, teach


@pytest.fixture
def taught(tmp_path):
    """A function from a name and numbers of examples to a closed model of them."""

    def make(name, n, **options):
        with DurableModel.open(tmp_path / name, **SMALL, **options) as model:
            teach(model, range(n))
        return tmp_path / name

    return make
