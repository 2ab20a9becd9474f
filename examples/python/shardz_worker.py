#!/usr/bin/env python3
"""A Shardwright worker in Python's standard library.

    python3 shardz_worker.py --id py-1 --coordinator http://127.0.0.1:7557 --listen 127.0.0.1:9090

It registers, answers pings, and prints `serve SHARD EPOCH` and `delete SHARD EPOCH` as shards come and go. SIGTERM lets it leave:
what it serves goes to others first. The protocol is in docs/openapi/shardz-worker.json; these are its three rules:

- Lease: a ping grants one of this worker's own answers. Until `hold_ms` after it *sent* that answer, on its own clock, it may
  serve. Without that it stops.
- Fence: a shard that it was asked to release is never served again at that epoch or below.
- Term: a ping of an older term than it has seen is refused.

And when it hears nothing for twice as long as pings and leases take, it registers again.
"""

import argparse
import hmac
import http.server
import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

VERSION = 1
PONGS_KEPT = 64


class Refused(Exception):
    """A ping that is not followed."""


class Worker:
    """What the worker knows. Every method that changes it runs under the lock."""

    def __init__(self, name, address, coordinators, token):
        self.name, self.address = name, address
        self.coordinators, self.token = coordinators, token
        self.changed = threading.Condition()
        self.fences = {}  # shard -> the highest epoch that is over, for as long as the process lives
        self.serving = {}  # shard -> the assignment that is printed as served
        self.is_drained = self.is_ending = False
        self.begin_session(None)

    def may_serve(self, keyspace, shard):
        """Whether a piece of work may be done for a shard now: to be asked before each one."""
        with self.changed:
            return self.holds() and (keyspace, shard) in self.serving

    def knows(self, authorization):
        """Whether a request carries the cluster's token."""
        return not self.token or hmac.compare_digest(authorization.encode(), f"Bearer {self.token}".encode())

    def begin_session(self, incarnation, patience=0.0):
        self.incarnation = incarnation
        self.patience, self.heard_at = patience, time.monotonic()
        self.term = self.list = self.number = 0
        self.wanted, self.released = {}, []
        self.sent = {}  # number of an answer -> when it was sent
        self.lease_end = 0.0
        self.needs_session = incarnation is None

    # What coordinators say.

    def ping(self, ping):
        """Takes in a ping and returns the answer."""
        with self.changed:
            if ping["version"] != VERSION:
                raise Refused(f"version {ping['version']} is not understood, this is {VERSION}")
            if ping["node"] != self.name or ping["incarnation"] != self.incarnation:
                raise Refused(f"this is session {self.incarnation} of {self.name}")
            if ping["term"] < self.term:
                raise Refused(f"term {self.term} has begun")
            if ping.get("expired"):
                self.begin_session(None)
                self.changed.notify_all()
                raise Refused("the session is over")
            self.heard_at = time.monotonic()
            held = (ping["term"], ping["list"])
            if "assignments" in ping and held > (self.term, self.list):
                self.term, self.list = held
                self.follow(ping["assignments"])
            # Time is granted to those who know what they may do with it.
            if held == (self.term, self.list):
                sent = self.sent.get(ping.get("granted"))
                if sent is not None:
                    self.lease_end = max(self.lease_end, sent + ping["hold_ms"] / 1000)
                self.is_drained = ping.get("drained", False)
            self.advance()
            self.changed.notify_all()
            return self.pong()

    def follow(self, assignments):
        """Takes over a list: what it asks to release is fenced before anything else."""
        self.released = [key(fence) for fence in assignments["release"]]
        for fence in assignments["release"]:
            self.fences[key(fence)] = max(self.fences.get(key(fence), 0), fence["epoch"])
        self.wanted = {key(each): each for each in assignments["serve"]}

    def pong(self):
        shards = [report(shard, each["epoch"], "serving") for shard, each in self.serving.items()]
        over = [shard for shard in self.wanted if self.is_fenced(shard)]
        for shard in set(self.released + over) - set(self.serving):
            shards.append(report(shard, self.fences.get(shard, 0), "released"))
        self.number += 1
        self.sent[self.number] = time.monotonic()
        self.sent.pop(self.number - PONGS_KEPT, None)
        return {
            "version": VERSION,
            "node": self.name,
            "incarnation": self.incarnation,
            "number": self.number,
            "term": self.term,
            "list": self.list,
            "shards": shards,
        }

    # What follows from it.

    def is_fenced(self, shard):
        return self.wanted[shard]["epoch"] <= self.fences.get(shard, 0)

    def holds(self):
        return time.monotonic() < self.lease_end

    def advance(self):
        """Stops what is over, then begins what is wanted. Both are quick here; a callback that takes long runs elsewhere, and its
        shard is reported as `starting` or `stopping` meanwhile."""
        holds = self.holds()
        for shard, held in list(self.serving.items()):
            want = self.wanted.get(shard)
            wanted = want is not None and not self.is_fenced(shard)
            if holds and wanted and (want["role"], want["replica"]) == (held["role"], held["replica"]):
                held["epoch"] = max(held["epoch"], want["epoch"])
                continue
            del self.serving[shard]
            print("delete", held["shard"], held["epoch"], flush=True)
        for shard, want in self.wanted.items():
            if holds and shard not in self.serving and not self.is_fenced(shard):
                self.serving[shard] = dict(want)
                print("serve", want["shard"], want["epoch"], flush=True)

    def watch_lease(self):
        """Stops everything at the moment at which the lease ends, and registers when there is no session."""
        while not self.is_ending:
            with self.changed:
                self.advance()
                now, lost_at = time.monotonic(), self.heard_at + self.patience
                needs_session = self.needs_session = self.needs_session or now > lost_at
                if not needs_session:
                    wakes = [lost_at, self.lease_end] if self.serving else [lost_at]
                    self.changed.wait(max(min(wakes) - now, 0.001))
            if needs_session and not self.is_ending and not self.register():
                time.sleep(0.1)

    # What it says to coordinators.

    def ask(self, path, body):
        """Asks one coordinator after the other until one answers."""
        for coordinator in self.coordinators:
            request = urllib.request.Request(coordinator.rstrip("/") + path, json.dumps(body).encode())
            request.add_header("Content-Type", "application/json")
            if self.token:
                request.add_header("Authorization", f"Bearer {self.token}")
            try:
                with urllib.request.urlopen(request, timeout=5) as answer:
                    return json.load(answer)
            except (OSError, ValueError) as error:
                print(f"{coordinator}: {error}", file=sys.stderr, flush=True)
        return None

    def register(self):
        body = {"version": VERSION, "id": self.name, "address": self.address}
        registered = self.ask("/shardz/v1/register", body)
        if registered is None:
            return False
        patience = 2 * (registered["check_interval_ms"] + registered["hold_ms"]) / 1000
        with self.changed:
            self.begin_session(registered["incarnation"], patience)
        return True

    def leave(self, limit):
        """Waits until what it serves is given to others, stops the rest, and says that it is gone."""
        body = {"version": VERSION, "id": self.name, "incarnation": self.incarnation}
        if self.ask("/shardz/v1/leave", {**body, "gone": False}) is not None:
            with self.changed:
                self.changed.wait_for(lambda: self.is_drained, limit)
        with self.changed:
            self.is_ending = True
            self.wanted = {}
            self.advance()
            self.changed.notify_all()
        self.ask("/shardz/v1/leave", {**body, "gone": True})


def key(shard):
    return (shard["keyspace"], shard["shard"])


def report(shard, epoch, state):
    return {"keyspace": shard[0], "shard": shard[1], "epoch": epoch, "state": state}


def handler(worker):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path != "/shardz":
                return self.answer(404, b"there is nothing here")
            if not worker.knows(self.headers.get("Authorization", "")):
                return self.answer(401, b"the ping carries no token, or another one")
            try:
                pong = worker.ping(json.loads(body))
            except Refused as why:
                return self.answer(409, str(why).encode())
            except (ValueError, KeyError, TypeError) as error:
                return self.answer(400, repr(error).encode())
            self.answer(200, json.dumps(pong).encode(), "application/json")

        def answer(self, status, body, kind="text/plain"):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


def main():
    parser = argparse.ArgumentParser(description="A Shardwright worker that prints what it serves.")
    parser.add_argument("--id", required=True, help="the name of the worker")
    parser.add_argument("--coordinator", required=True, help="URLs of coordinators, joined by commas")
    parser.add_argument("--listen", default="127.0.0.1:0", help="where to take pings, as HOST:PORT")
    parser.add_argument("--advertise", help="where coordinators reach it; the address it listens on, unless given")
    parser.add_argument("--token-file", help="a file with the coordinators' token")
    parser.add_argument("--leave-wait", type=float, default=10, help="how many seconds others get to take over")
    options = parser.parse_args()

    token = None
    if options.token_file:
        with open(options.token_file, encoding="ascii") as file:
            token = file.read().strip()
    host, _, port = options.listen.rpartition(":")
    worker = Worker(options.id, None, options.coordinator.split(","), token)
    server = http.server.ThreadingHTTPServer((host, int(port)), handler(worker))
    server.daemon_threads = True
    # A coordinator that has given up waiting for an answer is no error.
    server.handle_error = lambda *_: None
    worker.address = options.advertise or f"http://{host}:{server.server_address[1]}"

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Thread(target=worker.watch_lease, daemon=True).start()
    stop.wait()
    worker.leave(options.leave_wait)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
