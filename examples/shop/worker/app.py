"""The shop's worker: it has no port. Every second it looks up a price and books a sale in the ledger."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

VERSION = os.environ.get("OPSBOOK_VERSION") or Path(__file__).with_name("version.txt").read_text().strip()
EVERY = float(os.environ.get("WORKER_EVERY", "1.0"))


def price(api: str, number: int) -> int:
    """The price of one of the products, in turn."""
    with urllib.request.urlopen(f"{api}/products", timeout=5) as answer:
        products = json.load(answer)
    return products[number % len(products)]["price"]


def book(ledger: str, amount: int) -> str:
    """Tell the ledger of a sale; its answer, e.g. ``OK 390``."""
    url = urlsplit(ledger if "//" in ledger else f"//{ledger}")
    with socket.create_connection((url.hostname, url.port), timeout=5) as connection:
        connection.sendall(f"SELL {amount}\n".encode())
        return connection.makefile().readline().strip()


def main() -> None:
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    api, ledger = os.environ["API_URL"].rstrip("/"), os.environ["LEDGER_URL"]
    print(f"worker {VERSION} books sales of {api} in {ledger}", flush=True)
    sales = 0
    while not stopping.wait(EVERY):
        try:
            answer = book(ledger, price(api, sales))
        except OSError as error:
            print(f"sale {sales} waits: {error}", flush=True)  # tried again at the next turn
            continue
        print(f"sale {sales}: {answer}", flush=True)
        sales += 1
    print("worker stopped after a whole sale", flush=True)


if __name__ == "__main__":
    main()
