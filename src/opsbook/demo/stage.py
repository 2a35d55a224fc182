"""The stage of the tour: a copy of the shop in a temporary folder, and the versions that are played on it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from importlib import resources
from pathlib import Path

from opsbook.errors import NotFound

_ENTRY_PORT = "entry: {port: 8080}"  # as examples/shop/ops/environments/local.yaml has it
_ENTRY_URL = "http://127.0.0.1:8080/"  # as monitoring/probes.yaml has it
_PAGER_URL = "http://127.0.0.1:9094/"  # as opsbook.yaml has it
_TARGET = (
    "target: 99.9%"  # of slos.yaml: a month of it is not spent in ten seconds, the minutes of a tour are
)
_NO_INCIDENT = """
disable: [CrashLoop]
"""  # the tour lets a release crash long before it shows what an incident is
_CANARY = """
  canary:
    steps: [{weight: 10%, hold: 5s}]
    min_samples: 50
    inconclusive_after: 15s
    analysis:
      - {metric: error_rate, compare: stable}
      - {metric: response_time_p95, compare: stable}
"""  # the same as for long holds, in the time of a tour
_DRAIN_TIMEOUT = "rolling: {drain_timeout: 3s}"  # as examples/shop/ops/deployment/strategies.yaml has it
_START_TIMEOUT = "start_timeout: 8s"  # as examples/shop/ops/services/web.yaml has it


class Stage:
    """A temporary folder with the handbook in `ops/`, the sources beside it and opsbook's state in `.opsbook/`.

    Args:
        git: keep the handbook in git, where there is one.
    """

    def __init__(self, *, git: bool = False) -> None:
        # Unix sockets have short paths only; the default temporary folder of some systems has a long one.
        self.folder = Path(tempfile.mkdtemp(prefix="opsbook-demo-", dir="/tmp"))
        shutil.copytree(shop(), self.folder, dirs_exist_ok=True)
        self.folder.chmod(0o700)  # copying has given it the mode of the original
        self.entry_port, self.api_port, self.phone_port = free_ports(3)
        environment = self.folder / "ops" / "environments" / "local.yaml"
        text = environment.read_text()
        environment.write_text(text.replace(_ENTRY_PORT, f"entry: {{port: {self.entry_port}}}"))
        probes = self.folder / "ops" / "monitoring" / "probes.yaml"
        probes.write_text(probes.read_text().replace(_ENTRY_URL, f"{self.url}/"))
        strategies = self.folder / "ops" / "deployment" / "strategies.yaml"
        text = strategies.read_text().replace(_DRAIN_TIMEOUT, "rolling: {drain_timeout: 2s}")
        strategies.write_text(text.rstrip() + _CANARY)
        cover = self.folder / "ops" / "opsbook.yaml"
        cover.write_text(cover.read_text().replace(_PAGER_URL, f"http://127.0.0.1:{self.phone_port}/"))
        alerts = self.folder / "ops" / "monitoring" / "alerts.yaml"
        alerts.write_text(alerts.read_text() + _NO_INCIDENT)
        objectives = self.folder / "ops" / "monitoring" / "slos.yaml"
        objectives.write_text(objectives.read_text().replace(_TARGET, "target: 99%"))
        web = self.folder / "ops" / "services" / "web.yaml"
        web.write_text(web.read_text().replace(_START_TIMEOUT, "start_timeout: 4s"))
        self.git = git and self._keep_in_git()

    @property
    def state(self) -> Path:
        return self.folder / ".opsbook"

    @property
    def url(self) -> str:
        """Where the shop's requests come in."""
        return f"http://127.0.0.1:{self.entry_port}"

    def write_version(self, service: str, version: str, *, fault: str = "") -> None:
        """Change the source of `service` as a developer would: another version, sound or with a `fault`."""
        source = self.folder / service
        (source / "version.txt").write_text(f"{version}\n")
        (source / "fault.txt").unlink(missing_ok=True)
        if fault:
            (source / "fault.txt").write_text(f"{fault}\n")

    def last_commits(self) -> str:
        """The names of the files that the handbook's last commits have changed."""
        return self._git("log", "-n", "5", "--name-only", "--format=")

    def _keep_in_git(self) -> bool:
        """Handbooks are kept in git; without it, all of the tour but the commits goes on."""
        if shutil.which("git") is None:
            return False
        self._git("init", "-q")
        self._git("add", ".")
        self._git("commit", "-q", "-m", "The handbook of the shop")
        return True

    def _git(self, *words: str) -> str:
        author = ("-c", "user.name=Ana", "-c", "user.email=ana@example.com", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(self.folder / "ops"), *author, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def remove(self) -> None:
        """Remove everything. Snapshots of releases are read-only, so their folders are opened first."""
        for folder in [self.folder, *self.folder.rglob("*")]:
            if folder.is_dir() and not folder.is_symlink():
                folder.chmod(0o700)
        shutil.rmtree(self.folder)


def shop() -> Path:
    """The folder of the shop: within the installed package, or in a clone of the repository.

    Raises:
        NotFound: this installation has no examples.
    """
    packaged = Path(str(resources.files("opsbook.demo"))) / "shop"
    clone = Path(__file__).parents[3] / "examples" / "shop"
    for folder in (packaged, clone):
        if (folder / "ops" / "opsbook.yaml").is_file():
            return folder
    raise NotFound("this installation of opsbook has no examples", hint="run the demo in a clone: make demo")


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on now."""
    listeners = [socket.socket() for _ in range(count)]
    try:
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()
