"""An ordinary Flask program; nothing in it knows opsbook."""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello() -> str:
    return "Flask version 1\n"
