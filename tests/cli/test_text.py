"""Text of users is printed as text, in every command that prints any."""

import shutil

import pytest

from tests.conftest import first_short

NAMES = ["o[/b]x", "o[red]x", "o[bold]x", "o:smile:x"]
SMALL = ["digits-rotations", "--tasks", "2", "--examples-per-task", "20", "--quiet"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, perdure):
    """Folder of a finished run of a learner."""
    folder = tmp_path_factory.mktemp("runs") / "plain"
    assert perdure("run", "online", *SMALL, "--out", folder).returncode == 0
    return folder


def text_of(process, status=0):
    assert process.returncode == status, process.stderr
    assert "Traceback" not in process.stderr
    return "".join((process.stdout + process.stderr).split())  # a narrow terminal may fold a name


@pytest.mark.long
@pytest.mark.parametrize("name", first_short(NAMES[:2]))
def test_a_run_names_its_folder(name, tmp_path, perdure):
    assert f"figures:{name}" in text_of(perdure("run", "online", *SMALL, "--out", name, cwd=tmp_path))
    assert (tmp_path / name / "summary.json").exists()


@pytest.mark.long
@pytest.mark.parametrize("name", first_short(NAMES))
def test_records_are_listed_resumed_and_compared(name, finished, tmp_path, perdure):
    folder = tmp_path / "runs" / name
    shutil.copytree(finished, folder)
    shutil.copytree(finished, folder.parent / "other")
    assert folder.name in text_of(perdure("results", folder.parent))
    assert name in text_of(perdure("resume", folder, "--quiet"))
    figures = tmp_path / f"figures-{name}"
    assert f"figures-{name}" in text_of(perdure("report", folder, folder.parent / "other", "--figures", figures))


@pytest.mark.parametrize(
    "words",
    [
        "run NAME digits-rotations",
        "run online NAME",
        "run online digits-rotations --preset NAME",
        "run online digits-rotations --task-order NAME",
        "run online digits-rotations --data-file NAME",
        "run online digits-rotations NAME",
        "run online digits-rotations --NAME",
        "run online --data-file NAME",
        "resume NAME",
        "results NAME",
        "report NAME",
        "tune NAME digits-rotations",
        "tune online NAME",
        "tune online digits-rotations --learning-rate NAME",
        "reproduce NAME",
        "reproduce mer --table NAME",
        "oml train NAME",
        "oml train sine --method NAME",
        "oml evaluate NAME",
        "oml evaluate sine --classes NAME",
        "oml visualize NAME",
        "oml learners NAME",
        "rl train NAME catcher",
        "rl train dqn NAME",
        "rl train dqn catcher --schedule NAME",
        "rl train dqn catcher --observation NAME",
        "rl compare NAME",
        "rl play NAME",
        "data fetch NAME",
        "data verify NAME",
        "NAME",
    ],
)
def test_messages_name_what_was_given(words, tmp_path, typed):
    arguments = [word.replace("NAME", NAMES[0]) for word in words.split()]
    assert NAMES[0] in text_of(typed(*arguments, cwd=tmp_path), status=2)


def test_folders_of_data_are_listed(tmp_path, perdure):
    folder = tmp_path / NAMES[0] / "mnist"
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"nothing")
    listed = perdure("data", "list", "--data-dir", tmp_path / NAMES[0])
    assert NAMES[0] in text_of(listed)
