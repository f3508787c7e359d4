"""Representations at rest: read as they were written, refused where they are damaged or hostile."""

import contextlib
import copy
import json
import random
import struct
import time

import jax
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.representation.file import (
    RepresentationError,
    load_representation,
    representation_place,
    save_representation,
    shipped_representations,
)
from perdure.representation.network import ConvEncoder, DenseEncoder, Representation, he_head

DENSE = {"encoder": {"kind": "dense", "in_size": 4, "widths": [8, 8]}, "head": {"hidden_sizes": [], "out_size": 1}}
REMEDY = "give a file that `perdure features train` of this version has written, or get or train it again"


def dense_model():
    encoder = DenseEncoder(4, (8, 8), key=jax.random.key(0))
    return Representation(encoder, he_head(8, (), 1, jax.random.key(1)))


def conv_model():
    encoder = ConvEncoder((9, 9), 4, (2, 1), key=jax.random.key(0))
    return Representation(encoder, he_head(encoder.n_features, (5,), 3, jax.random.key(1)))


@pytest.fixture(scope="module", params=[dense_model, conv_model])
def written(request, tmp_path_factory):
    """A file of a representation, its content, and the model."""
    path = tmp_path_factory.mktemp("written") / "some.safetensors"
    model = request.param()
    save_representation(path, model, {"method": {"name": "OML"}}, "perdure features train …")
    return path, path.read_bytes(), model


def parts_of(content):
    """Return the metadata in a file's content, and its arrays."""
    (length,) = struct.unpack("<Q", content[:8])
    metadata = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["perdure"])
    return metadata, safetensors.numpy.load(content)


def rewrite(path, content, change):
    """Write a file whose metadata and arrays have been changed."""
    metadata, arrays = parts_of(content)
    metadata = change(metadata, arrays) or metadata
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    path.write_bytes(safetensors.numpy.save(arrays, metadata={"perdure": text}))


def test_what_is_written_is_read(written):
    path, _, model = written
    read = load_representation(path)
    assert jax.tree.structure(read.model) == jax.tree.structure(model)
    for one, other in zip(jax.tree.leaves(read.model), jax.tree.leaves(model), strict=True):
        np.testing.assert_array_equal(one, other)
    assert read.metadata["training"] == {"method": {"name": "OML"}}


@pytest.mark.parametrize("name", shipped_representations())
def test_those_that_come_with_perdure_are_written_as_they_are(name, tmp_path):
    trained = load_representation(name)
    save_representation(tmp_path / "again.safetensors", trained.model, trained.metadata["training"], "")
    again = load_representation(tmp_path / "again.safetensors")
    for one, other in zip(jax.tree.leaves(again.model), jax.tree.leaves(trained.model), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.metadata["network"] == trained.metadata["network"]


def test_a_place_can_be_loaded_from_any_folder(written, tmp_path, monkeypatch):
    path, _, _ = written
    monkeypatch.chdir(path.parent)
    place = representation_place(path.name)
    monkeypatch.chdir(tmp_path)
    assert load_representation(place).metadata["command"] == "perdure features train …"
    assert representation_place("sine") == "sine"
    (tmp_path / "sine").mkdir()
    assert representation_place("sine") == str(tmp_path / "sine")  # which `load_representation` would take


def test_there_is_none_of_that_name():
    with pytest.raises(RepresentationError, match="there is no representation 'nothing'; choose one of omniglot-small"):
        load_representation("nothing")


def sizes(**changes):
    """Return a change of the network's sizes."""

    def change(metadata, arrays):
        network = copy.deepcopy(DENSE)
        for path, value in changes.items():
            part, _, name = path.partition("__")
            network[part] = value if not name else {**network[part], name: value}
        metadata["network"] = network

    return change


def conv(**values):
    return sizes(encoder={"kind": "convolutional", "input_shape": [1, 9, 9], "width": 4, "strides": [2], **values})


WRONG = {
    "format": (lambda metadata, arrays: metadata.update(format=7), "'format' is 7, expected 1"),
    "no format": (lambda metadata, arrays: metadata.pop("format") and None, "'format' is None, expected 1"),
    "no metadata": (lambda metadata, arrays: "null", "metadata holds None, expected a JSON object"),
    "no JSON": (lambda metadata, arrays: "{", "metadata cannot be read as JSON"),
    "deep JSON": (lambda metadata, arrays: "[" * 100_000, "nested more than 32 levels deep"),
    "no network": (lambda metadata, arrays: metadata.pop("network") and None, "has no 'network', expected a table"),
    "network as text": (lambda metadata, arrays: metadata.update(network="x"), "'network' is 'x', expected a table"),
    "training as list": (lambda metadata, arrays: metadata.update(training=[]), "'training' is a list of length 0"),
    "domain as text": (
        lambda metadata, arrays: metadata["training"].update(domain="x"),
        "'domain' is 'x', expected a",
    ),
    "name as number": (
        lambda metadata, arrays: metadata["training"].update(method={"name": 3}),
        "'training', 'method', 'name' is 3, expected a text",
    ),
    "steps as text": (
        lambda metadata, arrays: metadata["training"].update(steps="x"),
        "'steps' is 'x', expected a",
    ),
    "no numbers": (
        lambda metadata, arrays: arrays.update({name: it * np.float32(np.nan) for name, it in arrays.items()}),
        "has weights that are not finite, expected numbers",
    ),
    "no command": (lambda metadata, arrays: metadata.pop("command") and None, "has no 'command', expected a text"),
    "another kind": (
        sizes(encoder__kind="film"),
        "'kind' is 'film', expected one of 'convolutional', 'dense', 'blocks'",
    ),
    "no kind": (sizes(encoder={}), "has no 'kind', expected a text"),
    "widths as number": (sizes(encoder__widths=8), "'widths' is 8, expected a list"),
    "width as text": (sizes(encoder__widths=["8"]), "'widths' is '8', expected a whole number"),
    "no widths": (sizes(encoder__widths=[]), "'widths' is a list of length 0, expected 1 to 100 sizes"),
    "no width": (sizes(encoder__widths=[0]), "'widths' is 0, expected 1 to 125,000,000"),
    "negative input": (sizes(encoder__in_size=-4), "'in_size' is -4, expected 1 to"),
    "huge width": (sizes(encoder__widths=[10**12]), "'widths' is 1000000000000, expected 1 to 125,000,000"),
    "huge product": (sizes(encoder__widths=[10**8, 10**8]), "has 10,000,000,700,000,001 weights, expected at most"),
    "many layers": (sizes(encoder__widths=[1] * 10**5), "'widths' is a list of length 100000, expected 1 to 100 sizes"),
    "huge output": (sizes(head__out_size=2**70), "'out_size' is a whole number of 71 bits"),
    "head as list": (sizes(head=[]), "'head' is a list of length 0, expected a table"),
    "picture of two axes": (conv(input_shape=[9, 9]), "expected channels, height and width"),
    "small picture": (conv(input_shape=[1, 2, 2]), "expected larger ones for its strides"),
    "huge picture": (conv(input_shape=[1, 10**8, 10**8]), "weights, expected at most 125,000,000"),
    "huge filters": (conv(width=10**6, strides=[1, 1]), "weights, expected at most 125,000,000"),
    "stride of 0": (conv(strides=[0]), "'strides' is 0, expected 1 to"),
    "other sizes": (sizes(encoder__widths=[8, 9]), r"float32\[.*expected .* for the network in its metadata"),
    "a missing array": (lambda metadata, arrays: arrays.pop("head.layers.0.bias") is None or None, "absent, expected"),
    "an array too many": (lambda metadata, arrays: arrays.update(x=np.zeros(3)), r"x is float64\[3\], expected none"),
    "float64": (
        lambda metadata, arrays: arrays.update({name: it.astype(float) for name, it in arrays.items()}),
        "is float64.*, expected float32",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_in_a_file_is_told_with_its_place(name, written, tmp_path):
    change, message = WRONG[name]
    path = tmp_path / "wrong.safetensors"
    rewrite(path, written[1], change)
    began = time.monotonic()
    with pytest.raises(RepresentationError, match=message) as refused:
        load_representation(path)
    assert time.monotonic() - began < 10
    assert str(path) in str(refused.value)
    assert str(refused.value).endswith(REMEDY)


def test_flipped_bytes_and_cut_off_files_are_survived(written, tmp_path):
    _, content, _ = written
    path, rng = tmp_path / "damaged.safetensors", random.Random(0)
    header = 8 + struct.unpack("<Q", content[:8])[0]
    for _ in range(150):
        flipped = bytearray(content)
        for place in rng.choices(range(header), k=rng.randint(1, 3)):
            flipped[place] ^= rng.randrange(1, 256)
        path.write_bytes(flipped)
        with contextlib.suppress(RepresentationError):
            load_representation(path)
    for length in [0, 1, 7, 8, 100, header - 1, header, len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(RepresentationError):
            load_representation(path)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


def places_in(tree, path=()):
    """Return the paths to all values in nested lists and tables."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in inner for place in places_in(value, (*path, key)))]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_changed_in_the_metadata_the_file_loads_or_is_refused(data, written, tmp_path):
    def change(metadata, arrays):
        *path, last = data.draw(st.sampled_from([place for place in places_in(metadata) if place]))
        holder = metadata
        for step in path:
            holder = holder[step]
        if data.draw(st.booleans()):
            del holder[last]
        else:
            holder[last] = data.draw(_values)

    path = tmp_path / "changed.safetensors"
    rewrite(path, written[1], change)
    with contextlib.suppress(RepresentationError):
        assert repr(load_representation(path)).startswith("Trained(")
