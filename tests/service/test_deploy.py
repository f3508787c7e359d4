"""What is in the folder deploy and on the page about it: commands that there are, figures that are measured."""

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import typer.core
import yaml

from perdure.cli.app import app
from perdure.cli.serve import _limits
from perdure.service.limits import Limits

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(DEPLOY.iterdir())}
PAGE = (ROOT / "docs" / "run-it.md").read_text(encoding="utf-8")
OTHER_PROGRAMS = ("systemctl", "journalctl", "pip", "install", "systemd-run")
USAGE_ERROR = typer.BadParameter.__bases__[0]
OPERATORS = ("|", "||", "&&", ";", ">", "&")


# --- commands


def parsed(words):
    """Return the options of a command line as the command line has them, without running it."""
    command, name, rest = typer.main.get_command(app), "perdure", list(words)
    while isinstance(command, typer.core.TyperGroup):
        assert rest, "a command was left out"
        name, command, rest = command.resolve_command(typer.Context(command), rest)
    assert command is not None
    return command.make_context(name, rest).params


def calls_in(line):
    """Yield the words after `perdure` of each call in a line of a shell."""
    words = shlex.split(re.sub(r"\$\([^)]*\)", "NOW", line), comments=True)
    if not words or any(it in words for it in OTHER_PROGRAMS):
        return
    for place, word in enumerate(words):
        if " " in word and "perdure" in word:  # sh -c
            yield from calls_in(word)
        if (word == "perdure" or word.endswith("/bin/perdure")) and words[place + 1 : place + 2] != ["perdure"]:
            rest = words[place + 1 :]
            end = next((n for n, it in enumerate(rest) if it in OPERATORS), len(rest))
            yield rest[:end]


def page_lines():
    for language, block in re.findall(r"```(sh|cron)\n(.*?)```", PAGE, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield re.sub(r"^[\d* ]+", "", line) if language == "cron" else line


def deploy_lines():
    for name, text in TEXTS.items():
        for line in text.splitlines():
            if name.endswith(".service") and line.startswith("ExecStart="):
                yield line.removeprefix("ExecStart=")
            elif (
                found := re.match(r"#[\s\d.\w:]*\s((?:docker compose .*)?perdure (?:serve|model) .*)", line)
            ) is not None:
                yield found[1]
    container = TEXTS["Containerfile"]
    entry, command = (json.loads(re.findall(rf"^{it} (\[.*\])$", container, re.M)[0]) for it in ("ENTRYPOINT", "CMD"))
    yield shlex.join([*entry, *command])
    compose = yaml.safe_load(TEXTS["compose.yaml"])
    yield shlex.join([*entry, *compose["services"]["perdure"]["command"]])


@pytest.mark.parametrize(("lines", "at_least"), [(page_lines, 18), (deploy_lines, 8)])
def test_every_command_is_one(lines, at_least):
    calls = [call for line in lines() for call in calls_in(line)]
    assert len(calls) >= at_least
    for call in calls:
        found = parsed(call)
        _limits(found.get("limit") or [])


@pytest.mark.parametrize(
    "words", ["modle backup a b", "model backup a", "serve models --prot 1", "serve token m --rol x"]
)
def test_a_command_that_is_none_is_found(words):
    with pytest.raises((ValueError, USAGE_ERROR)):
        parsed(words.split())
    with pytest.raises(ValueError, match="there is no limit"):
        _limits(["stop-second=3"])


@pytest.mark.long
def test_the_example_of_the_page_comes_to_what_it_shows(tmp_path):
    shell, text = re.findall(r"```sh\n(.*?)```\s+```text\n(.*?)```", PAGE, re.DOTALL)[0]
    called = f'set -e\nperdure() {{ "{sys.executable}" -m perdure "$@"; }}\n{shell}'
    # Programs of its own: a note is printed where two processes write the same one at once.
    env = {**os.environ, "JAX_COMPILATION_CACHE_DIR": f"{tmp_path / 'programs'}"}
    done = subprocess.run(["bash", "-c", called], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (text, "")


@pytest.mark.long
def test_the_example_in_python_comes_to_what_it_shows(capsys):
    code, text = re.findall(r"```python\n(.*?)```\s+```text\n(.*?)```", PAGE, re.DOTALL)[0]
    exec(compile(code, "run-it.md", "exec"), {})
    assert capsys.readouterr().out == text


def test_the_files_of_the_folder_are_on_the_page():
    for name in TEXTS:
        assert f"deploy/{name}" in PAGE or name == "Containerfile", name


# --- metrics


def exported(text):
    """Return the names of metrics, and the labels of each."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels = re.findall(r"^(\w+)(?:\{(.*)\})? ", line)[0]
            found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


def expressions():
    dashboard = json.loads(TEXTS["grafana-dashboard.json"])
    yield from (target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    yield from (it["query"]["query"] for it in dashboard["templating"]["list"] if it["type"] == "query")
    for group in yaml.safe_load(TEXTS["perdure-alerts.yaml"])["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def test_every_figure_of_dashboard_and_alerts_is_exported_and_all_are_shown(server):
    server.learn({"a": 1.0}, "up")
    server.post("/m/predict", {"x": {"a": 2.0}})
    found = exported(server.http.get("/metrics").text)
    used = set()
    for expression in expressions():
        names = re.findall(r"perdure_\w+", expression)
        assert all(it in found for it in names), expression
        used.update(names)
        for name in names:
            matched = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\"", expression)
            grouped = [it for by in re.findall(r"by \(([^)]*)\)", expression) for it in by.split(", ")]
            assert set(matched) | set(grouped) <= found[name] | {"le"}, expression
    own = {it for it in found if it.startswith("perdure_") and not it.endswith(("_created", "_count", "_sum"))}
    assert own == used


def test_panels_have_places_of_their_own():
    panels = json.loads(TEXTS["grafana-dashboard.json"])["panels"]
    taken = [
        (x, y)
        for it in panels
        for x in range(it["gridPos"]["x"], it["gridPos"]["x"] + it["gridPos"]["w"])
        for y in range(it["gridPos"]["y"], it["gridPos"]["y"] + it["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24
    assert len({it["id"] for it in panels}) == len(panels)


# --- the files


def stop_seconds(words):
    return _limits(parsed(words)["limit"] or []).stop_seconds


def unit(path):
    """Return a unit's section of the service; of a name that is there twice, the last."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read_string(path.read_text(encoding="utf-8"))
    return parser["Service"]


def test_nobody_is_killed_before_the_server_has_stopped():
    """It waits for requests, and then as long for what waits to be learned; snapshots come on top."""
    service = unit(DEPLOY / "perdure.service")
    words = next(calls_in(service["ExecStart"]))
    assert int(service["TimeoutStopSec"]) > 2 * stop_seconds(words) + 30
    compose = yaml.safe_load(TEXTS["compose.yaml"])["services"]["perdure"]
    assert int(compose["stop_grace_period"].removesuffix("s")) > 2 * stop_seconds(compose["command"]) + 30
    assert stop_seconds(words) == Limits().stop_seconds


def test_the_container_has_no_rights_and_writes_to_volumes_that_are_its_own():
    compose = yaml.safe_load(TEXTS["compose.yaml"])
    service, text = compose["services"]["perdure"], TEXTS["Containerfile"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert all(it.startswith("127.0.0.1:") for it in service["ports"])
    mounts = dict(it.split(":") for it in service["volumes"])
    assert set(mounts) == set(compose["volumes"])
    (made,) = re.findall(r"install --directory --owner perdure .* --mode 0700 (.*)", text)
    assert set(mounts.values()) == set(made.split())
    (user,) = re.findall(r"^USER (\d+)", text, re.M)
    assert int(user) > 0
    assert text.index("USER ") < text.index("ENTRYPOINT")
    assert "/healthz" in re.findall(r"^HEALTHCHECK.*?\n\s+CMD (.*)$", text, re.M)[0]
    for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.M):
        assert all((ROOT / it).exists() for it in line.split())
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).samefile(DEPLOY / "Containerfile")


def test_prometheus_is_told_the_port_of_the_service():
    service = unit(DEPLOY / "perdure.service")
    (job,) = yaml.safe_load(TEXTS["prometheus.yaml"])["scrape_configs"]
    port = parsed(next(calls_in(service["ExecStart"])))["port"]
    assert job["static_configs"][0]["targets"] == [f"127.0.0.1:{port}"]
    assert yaml.safe_load(TEXTS["prometheus.yaml"])["rule_files"] == ["perdure-alerts.yaml"]
    assert f"127.0.0.1:{port}" in PAGE


@pytest.mark.long
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("name", ["perdure.service", "perdure-backup.service", "perdure-backup.timer"])
def test_systemd_takes_the_units(tmp_path, name):
    for it, text in TEXTS.items():
        if it.endswith((".service", ".timer")):
            (tmp_path / it).write_text(text.replace("/opt/perdure/bin/perdure", "/bin/true"), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", UNITS, ids=lambda it: it.name)
def test_services_are_shut_in(path):
    service = unit(path)
    assert (service["DynamicUser"], service["NoNewPrivileges"], service["ProtectSystem"]) == ("yes", "yes", "strict")
    assert (service["CapabilityBoundingSet"], service["ProtectHome"], service["PrivateTmp"]) == ("", "yes", "yes")
