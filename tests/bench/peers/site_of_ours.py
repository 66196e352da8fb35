"""What serves re-ranking in real use: a private Redis on a Unix socket, a model learnt from the real log, one scorer on loopback."""
import csv
import http.client
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import tempfile
import time

WAIT_S = 60


class Site:
    """Requests are 100 items with real titles for a user with a history, one connection that is kept alive."""

    def __init__(self, world, prefix, candidates):
        self.folder, self.candidates, self.rand = tempfile.mkdtemp(), candidates, random.Random(7)
        self.children = []
        try:
            self.start(world, prefix)
        except BaseException:
            self.close()
            raise

    def start(self, world, prefix):
        if shutil.which("redis-server") is None:
            raise RuntimeError("no redis-server")
        socket = f"{self.folder}/redis"
        self.child(["redis-server", "--unixsocket", socket, "--port", "0", "--save", "", "--dir", self.folder], "redis")
        self.wait("Redis", lambda: os.path.exists(socket))
        url = f"redis.url=unix:{socket}"
        prefix.replay("--flush", settings=[url])
        self.child([world.freshet.binary, "serve", "--listen", "127.0.0.1:0", *world.freshet.settings(url)], "serve")
        self.wait("port", lambda: self.port() is not None)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port(), timeout=WAIT_S)
        self.wait("version", lambda: self.ask("GET", "/v2/health/ready")[0] == 200)
        self.users, self.items = known(prefix.path)
        for at in range(0, len(self.items), self.candidates):  # each item once: warm
            self.rerank(self.items[at:at + self.candidates])

    def child(self, command, name):
        with open(f"{self.folder}/{name}.log", "w") as log:
            self.children.append(subprocess.Popen(command, stdout=log, stderr=log))

    def wait(self, what, there):
        end = time.monotonic() + WAIT_S
        while not there():
            if time.monotonic() > end:
                raise RuntimeError(f"still no {what} after {WAIT_S} s")
            time.sleep(0.05)

    def port(self):
        with open(f"{self.folder}/serve.log") as log:
            found = re.search(r" listening .*port=(\d+)", log.read())
        return int(found[1]) if found else None

    def ask(self, method, path, body=None):
        self.connection.request(method, path, body)
        reply = self.connection.getresponse()
        return reply.status, reply.read()

    def rerank(self, items):
        """Milliseconds; the answer must rank every item."""
        body = json.dumps({"user": self.rand.choice(self.users), "items": items})
        start = time.perf_counter()
        status, answer = self.ask("POST", "/v1/rerank", body)
        spent = time.perf_counter() - start
        if status != 200 or len(json.loads(answer)["items"]) != len(items):
            raise RuntimeError(f"/v1/rerank answered {status}")
        return spent * 1e3

    def median_ms(self, seconds):
        self.connection.close()  # the scorer closes one that was idle between rounds; the next request opens it anew
        self.rerank(self.items[:self.candidates])
        spent, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            spent.append(self.rerank(self.rand.sample(self.items, self.candidates)))
        return statistics.median(spent)

    def close(self):
        for child in reversed(self.children):
            child.terminate()
            child.wait()
        shutil.rmtree(self.folder)


def known(path):
    """Users and items (with a title) of the log, in its own spelling."""
    users, items = {}, {}
    with open(path) as log:
        for row in csv.DictReader(log):
            code = row["StockCode"].strip().upper()
            if row["CustomerID"] and row["Description"].strip() and re.fullmatch(r"\d{5}[A-Z]{0,2}", code):
                users[row["CustomerID"].strip().removesuffix(".0")] = items[code] = True
    return list(users), list(items)
