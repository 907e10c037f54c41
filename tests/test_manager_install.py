"""An install as users make it: ComfyUI Manager's command line into a clean ComfyUI, and the
registry's archive.

Nothing of the developer's ComfyUI or git settings is touched, and no package is ever installed: a
clean ComfyUI has all that the pack requires, so Manager works offline here.
"""

import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from devtools.environment import Environment
    from devtools.server import ComfyServer

ROOT = Path(__file__).resolve().parent.parent
URL = "https://github.com/memory-v2v/comfyui-memory-v2v"
NOT_COPIED = (
    "models",
    "custom_nodes",
    "input",
    "output",
    "temp",
    "user",
    ".git",
    ".venv",
    "venv",
    "tests*",
)


@pytest.fixture(scope="module")
def environment() -> "Environment":
    """The environment of the tests, with ComfyUI Manager and the registry's command line in it."""
    from devtools.environment import find_environment, missing_modules

    found = find_environment()
    if found is None:
        pytest.skip("no ComfyUI: run the tests with `python dev.py test`, or set COMFYUI_PATH")
    missing = missing_modules(found.python, ("cm_cli", "comfy_cli"))
    if missing:
        told = f"{found.python} lacks {', '.join(missing)}; install devtools/requirements.txt there"
        (pytest.fail if found.is_private else pytest.skip)(told)
    if shutil.which("git") is None:
        pytest.skip("no git: ComfyUI Manager clones packs with it")
    return found


@pytest.fixture(scope="module")
def variables(
    environment: "Environment", tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The process environment of a user whose git fetches the pack's address from the working tree,
    committed here.
    """
    folder = tmp_path_factory.mktemp("hosts")
    organisation, repository = URL.removeprefix("https://").rsplit("/", 1)
    settings = folder / "gitconfig"
    settings.write_text(
        "[user]\nname = Tester\nemail = tester@example.com\n[core]\nautocrlf = false\n"
        f'[url "{folder.as_uri()}/"]\ninsteadOf = https://{organisation}/\n',
        encoding="utf-8",
    )
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GIT_", "CM_", "UV_", "PIP_"))
    }
    home = {"HOME": str(folder), "USERPROFILE": str(folder), "XDG_CONFIG_HOME": str(folder)}
    git = {
        "GIT_CONFIG_GLOBAL": str(settings),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }
    nowhere = {
        name: "http://127.0.0.1:9"
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    }
    offline = {**nowhere, "UV_OFFLINE": "1", "UV_NO_CACHE": "1", "UV_BREAK_SYSTEM_PACKAGES": "1"}
    shown = {"PYTHONIOENCODING": "utf-8", "COLUMNS": "200", "NO_COLOR": "1"}
    result = {**inherited, **home, **git, **offline, **shown, "UV_PYTHON": str(environment.python)}
    in_repository = {
        **result,
        "GIT_DIR": str(folder / f"{repository}.git"),
        "GIT_WORK_TREE": str(ROOT),
    }
    for words in (
        ["init", "--quiet"],
        ["add", "--all"],
        ["commit", "--quiet", "--message", "The working tree"],
    ):
        subprocess.run(["git", *words], cwd=ROOT, env=in_repository, check=True)
    return result


def run(command: list[str], variables: dict[str, str], cwd: Path) -> str:
    """All that a command printed, which tells more than the exit codes of these programs."""
    ended = subprocess.run(
        command,
        cwd=cwd,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        timeout=300,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


@pytest.fixture(scope="module")
def clone(variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack as git gives it to everyone."""
    folder = tmp_path_factory.mktemp("clone")
    run(["git", "clone", "--quiet", f"{URL}.git", "pack"], variables, folder)
    return folder / "pack"


@pytest.fixture(scope="module")
def installed_server(
    environment: "Environment", variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[ComfyServer]":
    """A clean ComfyUI that serves the pack as Manager installed it."""
    from devtools.environment import Environment
    from devtools.server import running_server

    comfyui = tmp_path_factory.mktemp("clean") / "ComfyUI"
    shutil.copytree(environment.comfyui, comfyui, ignore=_ignored(environment.comfyui))
    (comfyui / "custom_nodes").mkdir()
    manager = [str(environment.python), "-m", "cm_cli", "install", f"{URL}.git", "--mode", "local"]
    words = run(manager, {**variables, "COMFYUI_PATH": str(comfyui)}, comfyui)
    assert f"[INSTALLED] {URL}.git" in words, words
    assert "error" not in words.lower(), words
    clean = Environment(environment.python, comfyui, False)
    with running_server(
        clean, base_dir=comfyui, pack_dir=None, extra_args=["--disable-api-nodes"]
    ) as server:
        yield server


def _ignored(comfyui: Path):
    at_top = shutil.ignore_patterns(*NOT_COPIED)
    return lambda folder, names: at_top(folder, names) if Path(folder) == comfyui else ()


def test_manager_installs_every_node_with_its_help(installed_server: "ComfyServer") -> None:
    from devtools.server import PACK_FOLDER, pack_nodes

    pack = installed_server.base_dir / "custom_nodes" / PACK_FOLDER
    assert (pack / ".git").is_dir()
    assert not pack.is_symlink()
    pages = list((pack / "web" / "docs").glob("*.md"))
    assert set(pack_nodes(installed_server.api.object_info())) == {path.stem for path in pages}
    # Every page shows the picture of its node.
    for page in pages:
        picture = f"images/{page.stem}.webp"
        assert f"]({picture})" in page.read_text(encoding="utf-8"), page.name
        assert (page.parent / picture).is_file(), picture


def test_the_first_workflow_of_an_installed_pack_saves_a_turn(
    installed_server: "ComfyServer",
) -> None:
    from devtools.api import output_files
    from devtools.server import PACK_FOLDER
    from devtools.workflow import needed_for, node_titled, with_input, workflow_to_prompt

    path = (
        installed_server.base_dir
        / "custom_nodes"
        / PACK_FOLDER
        / "workflows"
        / "multi_turn_novel_view.json"
    )
    workflow = json.loads(path.read_text(encoding="utf-8"))
    prompt = workflow_to_prompt(workflow, installed_server.api.object_info())
    prompt = with_input(prompt, node_titled(prompt, "Turn A: sample"), "steps", 1)
    prompt = needed_for(prompt, node_titled(prompt, "Save Turn A"))
    outputs = [output.filename for output in output_files(installed_server.api.run(prompt))]
    assert sum(name.endswith(".mp4") for name in outputs) == 1


def test_every_file_can_lie_on_a_windows_disk(variables: dict[str, str], clone: Path) -> None:
    staged = run(["git", "ls-files", "--stage"], variables, clone).splitlines()
    modes, names = {line[:6] for line in staged}, [line.partition("\t")[2] for line in staged]
    assert len(names) > 100
    assert modes <= {
        "100644",
        "100755",
    }
    assert len({name.lower() for name in names}) == len(names)
    for name in names:
        assert name.isascii()
        assert len(name) < 100
        assert not set(name) & set('<>:"\\|?*')
        for part in name.split("/"):
            assert part.split(".")[0].lower() not in (
                "con",
                "prn",
                "aux",
                "nul",
            )
            assert not part.endswith((".", " "))


def test_the_registry_takes_the_pack(
    environment: "Environment", variables: dict[str, str], clone: Path
) -> None:
    comfy = [
        str(environment.python),
        "-m",
        "comfy_cli",
        "--skip-prompt",
        "--no-enable-telemetry",
        "node",
    ]
    findings = run([*comfy, "validate"], variables, clone)
    assert [line.strip() for line in findings.splitlines() if line.strip()] == [
        "Validating node configuration...",
        "Running security checks...",
        "\u2713 All validation checks passed successfully",
    ]
    run([*comfy, "pack"], variables, clone)
    with zipfile.ZipFile(clone / "node.zip") as archive:
        packed = {name for name in archive.namelist() if not name.endswith("/")}
    tracked = set(run(["git", "ls-files"], variables, clone).splitlines())
    unpacked = (".ci/", ".github/", "benchmarks/", "tests/")
    left_out = {name for name in tracked if name.startswith(unpacked)}
    assert packed == tracked - left_out
