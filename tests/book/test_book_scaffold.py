"""What `opsbook init` writes is a handbook without errors, and its service is a good one."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from opsbook.book import Problem, TextFiles, load_or_problems
from opsbook.book.detect import detect
from opsbook.book.scaffold import scaffold


def checked(files: Mapping[str, str]) -> tuple[Problem, ...]:
    """The problems of the handbook among the files."""
    book, problems = load_or_problems(
        TextFiles.of(
            {path.removeprefix("ops/"): text for path, text in files.items() if path.startswith("ops/")}
        )
    )
    assert book is not None, problems
    return problems


def test_a_new_handbook_is_good() -> None:
    """Three files and a service; with a way to reach its owner there is nothing to warn of."""
    files = scaffold("My Shop!", owner="Ada Lovelace", email="ada@example.com")

    assert {
        "ops/opsbook.yaml",
        "ops/services/hello.yaml",
        "ops/environments/local.yaml",
        "hello/app.py",
    } == files.keys()
    assert checked(files) == ()
    assert "name: my-shop\n" in files["ops/opsbook.yaml"]
    assert "owner: ada-lovelace " in files["ops/opsbook.yaml"]


def test_without_an_address_only_that_is_warned_of() -> None:
    """Nobody's address is invented; the one warning says what to add."""
    assert [problem.message for problem in checked(scaffold("shop"))] == ["nobody can be reached here"]


@pytest.mark.parametrize("name", ["", "123", "ÄÖ", "a" * 90, "web-", "-x"])
def test_any_folder_name_makes_a_name(name: str) -> None:
    """A folder may be called anything."""
    checked(scaffold(name, owner=name))


PROJECTS: dict[str, tuple[dict[str, str], dict[str, list[str]]]] = {
    "Procfile": (
        {
            "Procfile": "web: gunicorn app:app --bind 127.0.0.1:$PORT\nworker: A=1 run | tee ${LOG}\nrelease: move\n"
        },
        {
            "web": ["gunicorn", "app:app", "--bind", "127.0.0.1:{port}"],
            "worker": ["sh", "-c", "A=1 run | tee ${{LOG}}"],
        },
    ),
    "Procfile with a variable": (
        {"Procfile": "web: serve --workers $WORKERS --port $PORT"},
        {"web": ["sh", "-c", "exec serve --workers $WORKERS --port $PORT"]},
    ),
    "Flask with gunicorn": (
        {
            "app.py": "import flask\nshop = flask.Flask(__name__)\n",
            "pyproject.toml": 'dependencies = ["gunicorn>=23"]',
        },
        {"app": ["gunicorn", "app:shop", "--bind", "127.0.0.1:{port}"]},
    ),
    "Flask alone": (
        {"wsgi.py": "app = Flask(__name__)\n", "requirements.txt": "flask\n"},
        {"app": ["flask", "--app", "wsgi:app", "run", "--port", "{port}"]},
    ),
    "FastAPI and Redis": (
        {"main.py": "api: FastAPI = FastAPI()\n", "requirements.txt": "fastapi\nuvicorn\nredis==5.0\n"},
        {
            "app": ["uvicorn", "main:api", "--host", "127.0.0.1", "--port", "{port}"],
            "redis": ["redis-server", "--port", "{port}", "--bind", "127.0.0.1", "--save", ""],
        },
    ),
    "Django": (
        {"manage.py": "", "shop/wsgi.py": "", "requirements.txt": "Django\ngunicorn\n"},
        {"app": ["gunicorn", "shop.wsgi", "--bind", "127.0.0.1:{port}"]},
    ),
    "Node": ({"package.json": '{"scripts": {"start": "node server.js"}}'}, {"app": ["node", "server.js"]}),
    "npm": ({"package.json": '{"scripts": {"start": "next start"}}'}, {"app": ["npm", "start"]}),
    "broken package.json": ({"package.json": "{", "server.js": ""}, {"app": ["node", "server.js"]}),
    "a page": ({"index.html": ""}, {"app": ["python", "-m", "http.server", "--bind", "127.0.0.1", "{port}"]}),
    "an image": ({"Dockerfile": "FROM x\nEXPOSE 80\n"}, {"app": []}),
}


@pytest.mark.parametrize("project", PROJECTS)
def test_what_is_there_is_proposed(project: str) -> None:
    """Each kind of project gives services that load, with their reasons as comments."""
    listing, commands = PROJECTS[project]
    proposals = detect(listing)
    files = scaffold("shop", proposals=proposals, email="a@example.com")
    book, problems = load_or_problems(
        TextFiles.of({path.removeprefix("ops/"): text for path, text in files.items()})
    )

    assert problems == ()
    assert book is not None
    placed = book.effective_services("local")
    assert commands == {name: list(service.command) for name, service in placed.items()}
    assert all(proposal.text.startswith("# Found: ") for proposal in proposals)
    assert "hello/app.py" not in files


def test_nothing_recognised_is_nothing_proposed() -> None:
    """A project that says nothing gets no invented service."""
    assert detect({"README.md": "", "src/lib.rs": ""}) == ()


@pytest.fixture
def hello(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The service of a new handbook, started as a user would, and its port."""
    app = tmp_path / "app.py"
    app.write_text(scaffold("shop")["hello/app.py"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    environment = {**os.environ, "PORT": str(port), "OPSBOOK_VERSION": "7"}
    process = subprocess.Popen([sys.executable, str(app)], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == f"listening on port {port}, version 7\n"
    yield process, port
    process.kill()
    process.wait()
    process.stdout.close()


def test_hello_answers(hello: tuple[subprocess.Popen[str], int]) -> None:
    """It answers on one connection that stays, says that it is well, and counts."""
    _, port = hello
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    answers = {}
    for path in ("/", "/healthz", "/nothing", "/metrics"):
        connection.request("GET", path)
        answer = connection.getresponse()
        answers[path] = (answer.status, answer.read().decode(), answer.getheader("X-Version"))
    connection.close()

    assert answers["/"] == (200, "Hello from version 7\n", "7")
    assert answers["/healthz"] == (200, "ok\n", "7")
    assert answers["/nothing"][0] == 404
    assert 'http_requests_total{code="200"} 1\n' in answers["/metrics"][1]
    assert 'http_request_duration_seconds_bucket{le="+Inf"} 2\n' in answers["/metrics"][1]


def test_hello_finishes_before_it_goes(hello: tuple[subprocess.Popen[str], int]) -> None:
    """On SIGTERM no request that was sent is lost, idle connections do not hold it up, and it exits with 0."""
    process, port = hello
    idle = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    idle.request("GET", "/")
    idle.getresponse().read()
    outcomes: list[str] = []

    def ask() -> None:
        """Requests until the service announces its end; a request without an answer is a loss."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        while True:
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
            except (http.client.HTTPException, ConnectionError):
                outcomes.append("ended")  # the kept connection was closed while it was idle
                return
            outcomes.append(str(answer.status))
            if answer.getheader("Connection") == "close":
                return

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while len(outcomes) < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(10)

    assert process.wait(10) == 0
    assert {"200"} == set(outcomes) - {"ended"}
    assert outcomes.count("ended") <= len(threads)
    assert idle.sock.recv(1) == b""  # closed by the service, cleanly
    idle.close()
