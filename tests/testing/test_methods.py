"""The conformance check of representation methods passes those that learn and catches planted faults."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from perdure.representation.oml import OML, Measured, Method
from perdure.representation.pretraining import Pretraining
from perdure.testing.methods import check_method, tiny_sines
from perdure.testing.report import ConformanceError
from tests.conftest import first_short

METHODS = [OML(0.1, 0.01), OML(0.1, 0.01, first_order=True), Pretraining(0.01, batch_size=8)]


@pytest.mark.long
@pytest.mark.parametrize("method", first_short(METHODS))
def test_methods_of_perdure_conform_on_images(method):
    report = check_method(method)
    assert report.failures == []
    assert len(report.outcomes) == 6


@pytest.mark.long
@pytest.mark.parametrize("method", [OML(0.01, 0.003), Pretraining(0.003, batch_size=8)])
def test_methods_of_perdure_conform_on_sine_waves(method):
    assert check_method(method, tiny_sines()).failures == []


class Around(Method):
    """A method around another one, with a fault of its own."""

    inner: Method

    def new_model(self, domain, key):
        return self.inner.new_model(domain, key)

    def optimizer(self) -> optax.GradientTransformation:
        return self.inner.optimizer()


class Wrapped(Around):
    def step(self, now, domain, key):
        return self.inner.step(now, domain, key)


class LearnsNothing(Around):
    def step(self, now, domain, key):
        return now, self.inner.step(now, domain, key)[1]


class DrawsWhileTraced(Around):
    def step(self, now, domain, key):
        after, measured = self.inner.step(now, domain, key)
        noise = np.float32(np.random.default_rng().normal())
        return after._replace(model=jax.tree.map(lambda leaf: leaf + 1e-3 * noise, after.model)), measured


class DrawsGlobally(Around):
    def step(self, now, domain, key):
        np.random.seed(0)  # noqa: NPY002  the same numbers at every trace, and still a generator that is not the key's
        np.random.normal()  # noqa: NPY002
        return self.inner.step(now, domain, key)


class ChangesDtype(Around):
    def step(self, now, domain, key):
        after, measured = self.inner.step(now, domain, key)
        return after._replace(model=jax.tree.map(lambda leaf: leaf.astype(jnp.float16), after.model)), measured


class MeasuresVectors(Around):
    def step(self, now, domain, key):
        after, measured = self.inner.step(now, domain, key)
        return after, Measured(measured.loss[None], measured.before, measured.after)


class ComesToNaN(Around):
    def step(self, now, domain, key):
        after, measured = self.inner.step(now, domain, key)
        return after._replace(model=jax.tree.map(lambda leaf: leaf / 0 * 0, after.model)), measured


@pytest.mark.long
def test_a_wrapper_without_a_fault_passes():
    assert check_method(Wrapped(METHODS[0])).failures == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("faulty", "words"),
    [
        (LearnsNothing, r"FAILED  it learns.*expected it to fall"),
        (DrawsWhileTraced, r"FAILED  a step is pure.*traced again, so it draws from more than its key"),
        (DrawsGlobally, r"FAILED  a step is pure.*NumPy's global generator"),
        (ChangesDtype, r"FAILED  a step keeps shapes and dtypes.*float16"),
        (MeasuresVectors, r"FAILED  a step keeps shapes and dtypes.*Measured of three numbers"),
        (ComesToNaN, r"FAILED  numbers stay finite.*NaN or infinity"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*divide by zero.*:RuntimeWarning")
def test_a_planted_fault_is_caught_and_told_in_words(faulty, words):
    with pytest.raises(ConformanceError, match=f"(?s){words}"):
        check_method(faulty(METHODS[0]))
