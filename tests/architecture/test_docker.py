"""The container's files name what there is: paths, extras, verbs, targets. No image is built here."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML, which nwbinspector brings along, reads compose.yaml")


@dataclass
class Stage:
    """One FROM and what follows it."""

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def of(self, instruction: str) -> list[str]:
        return [value for name, value in self.steps if name == instruction]

    def environment(self) -> dict[str, str]:
        return dict(word.split("=", 1) for value in self.of("ENV") for word in shlex.split(value))


def read_stages(text: str) -> tuple[dict[str, str], dict[str, Stage]]:
    """Return the arguments before the first stage, and the stages by name."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    current = None
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        instruction, value = line.strip().split(None, 1)
        if instruction == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\w+)", value).groups()
            current = stages[name] = Stage(base)
        elif current is None:
            assert instruction == "ARG", line
            name, default = value.split("=")
            arguments[name] = default
        else:
            current.steps.append((instruction, re.sub(r"\s+", " ", value)))
    return arguments, stages


@pytest.fixture(scope="module")
def dockerfile(repository: Path) -> tuple[dict[str, str], dict[str, Stage]]:
    return read_stages((repository / "docker" / "Dockerfile").read_text())


@pytest.fixture(scope="module")
def stages(dockerfile: tuple[dict[str, str], dict[str, Stage]]) -> dict[str, Stage]:
    return dockerfile[1]


@pytest.fixture(scope="module")
def compose(repository: Path) -> dict[str, Any]:
    return yaml.safe_load((repository / "docker" / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docker" / "README.md").read_text(encoding="utf-8")


def verbs() -> set[str]:
    import typer.main

    from gpucells.cli.app import app

    return set(typer.main.get_command(app).commands)


def extras(repository: Path) -> set[str]:
    return set(tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def test_targets(stages: dict[str, Stage]) -> None:
    assert list(stages) == ["wheels", "cpu", "cuda"]  # the last one is built where none is named


def test_base_images_have_a_fixed_tag(dockerfile: tuple[dict[str, str], dict[str, Stage]]) -> None:
    arguments, stages = dockerfile
    for stage in stages.values():
        image, tag = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], stage.base).split(":")
        assert re.fullmatch(r"\d+\.\d+\.\d+-[a-z0-9.-]+", tag), tag  # a patch version and a distribution
        assert image in {"python", "nvidia/cuda"}
    assert "-base-" in arguments["CUDA_TAG"]


def test_what_is_copied_exists_and_is_not_ignored(repository: Path, stages: dict[str, Stage]) -> None:
    ignore = (repository / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    assert next(line for line in ignore if not line.startswith("#")) == "*"
    let_in = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    sources = {name for stage in stages.values() for value in stage.of("COPY") for name in value.split()[:-1]}
    assert sources
    for name in sources:
        assert (repository / name).exists(), name
    assert sources == let_in


def test_what_the_wheel_needs_is_copied(repository: Path, stages: dict[str, Stage]) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    named = project["project"]
    needed = {named["readme"], *named["license-files"], *wheel["packages"], *wheel["force-include"]}
    copied = {name for value in stages["wheels"].of("COPY") for name in value.split()[:-1]}
    assert needed | {"pyproject.toml"} == copied


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_extras_exist(repository: Path, stages: dict[str, Stage], target: str) -> None:
    arguments = dict(value.split("=") for value in stages[target].of("ARG"))
    installs = re.findall(r"\.whl\)\[([^\]]+)\]", " ".join(stages[target].of("RUN")))
    assert installs
    named = {re.sub(r"\$\{(\w+)\}", lambda m: arguments[m[1]], word) for text in installs for word in text.split(",")}
    assert named <= extras(repository)
    assert ("cuda12" in named) == (target == "cuda")


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_commands_are_ours(stages: dict[str, Stage], target: str) -> None:
    stage = stages[target]
    assert json.loads(stage.of("ENTRYPOINT")[0]) == ["gpucells"]
    assert json.loads(stage.of("CMD")[0]) == ["--help"]
    check = json.loads(stage.of("HEALTHCHECK")[0].partition("CMD ")[2])
    assert check[0] == "gpucells"
    assert check[1] in verbs()


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_the_last_user_is_not_root_and_owns_what_it_writes_to(stages: dict[str, Stage], target: str) -> None:
    stage = stages[target]
    (user,) = stage.of("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert f"chown {user} /cache /data" in " ".join(stage.of("RUN"))
    assert stage.of("WORKDIR") == ["/data"]
    after = [name for name, _ in stage.steps[stage.steps.index(("USER", user)) :]]
    assert not {"RUN", "COPY", "ADD"} & set(after)


def test_caches_are_in_the_volume_and_named_as_the_code_names_them(repository: Path, stages: dict[str, Stage]) -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (repository / "gpucells" / "device").glob("*.py"))
    for target, names in {"cpu": {"XDG_CACHE_HOME"}, "cuda": {"XDG_CACHE_HOME", "CUPY_CACHE_DIR"}}.items():
        environment = stages[target].environment()
        for name in names:
            assert name in code
            assert environment[name].startswith("/cache")
        assert json.loads(stages[target].of("VOLUME")[0]) == ["/cache"]


def test_no_secret_and_no_download_by_hand(repository: Path) -> None:
    text = (repository / "docker" / "Dockerfile").read_text() + (repository / "docker" / "compose.yaml").read_text()
    assert not re.search(r"(?i)token|password|secret|curl |wget |^ADD ", text, re.MULTILINE)


def test_compose_builds_targets_that_exist(
    repository: Path, dockerfile: tuple[dict[str, str], dict[str, Stage]], compose: dict[str, Any]
) -> None:
    arguments, stages = dockerfile
    for name, service in compose["services"].items():
        build = service["build"]
        root = (repository / "docker" / build["context"]).resolve()
        assert root == repository.resolve()
        assert (root / build["dockerfile"]).is_file()
        assert build["target"] in stages
        known = arguments | dict(value.split("=") for value in stages[build["target"]].of("ARG"))
        for key, value in build.get("args", {}).items():
            assert re.fullmatch(r"\$\{\w+:-(.+)\}", value)[1] == known[key]
        volumes = [volume.rpartition(":") for volume in service["volumes"]]
        assert {target for _, _, target in volumes} == {"/data", "/cache"}
        assert {source for source, _, _ in volumes if source.isidentifier()} <= set(compose["volumes"])
        has_gpu = "gpu" in str(service.get("deploy"))
        assert has_gpu == (name == "cuda")


def commands(page: str) -> list[list[str]]:
    blocks = re.findall(r"^```bash\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def test_the_page_says_that_nothing_was_built(page: str) -> None:
    assert "Not built yet" in page


def test_commands_of_the_page_name_what_there_is(
    repository: Path, dockerfile: tuple[dict[str, str], dict[str, Stage]], compose: dict[str, Any], page: str
) -> None:
    arguments, stages = dockerfile
    known = set(arguments) | {value.split("=")[0] for stage in stages.values() for value in stage.of("ARG")}
    built = set()
    for words in commands(page):
        for place, word in enumerate(words):
            if word in {"-f", "--file"}:
                assert (repository / words[place + 1]).is_file()
            elif word == "--target":
                assert words[place + 1] in stages
            elif word == "--build-arg":
                key, _, value = words[place + 1].partition("=")
                assert key in known
                assert key != "CUDA_EXTRA" or value in extras(repository)
            elif word == "-t":
                built.add(words[place + 1])
    runs = (["docker", "run"], ["docker", "compose"], ["apptainer", "run"])
    used = [words for words in commands(page) if words[:2] in runs]
    for words in used:
        if "compose" in words:
            assert set(words) & set(compose["services"]), words
        elif words[0] == "docker":
            image = next(word for word in words if word.startswith("gpucells:"))
            assert image in built
        if "build" not in words:
            assert set(words) & verbs(), words
    assert used


def test_variables_of_compose_are_on_the_page(repository: Path, page: str) -> None:
    text = (repository / "docker" / "compose.yaml").read_text()
    for name in set(re.findall(r"\$\{(GPUCELLS_\w+)", text)):
        assert name in page
