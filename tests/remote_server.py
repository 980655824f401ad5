"""An S3 server on loopback (moto), and a proxy in front of it that fails on request."""

from __future__ import annotations

import http.client
import http.server
import subprocess
import sys
import threading
from contextlib import contextmanager

BUCKET = "predictions"


class Faults:
    """How many of the coming requests whose path holds ``part`` fail, and how: "drop", "short" or a status.

    All requests since the last ``reset`` are ``seen``, as pairs of method and path.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self.reset()

    def reset(self, part=None, count=0, how="500", method="GET", after=0):
        with self._lock:
            self.part, self.count, self.how, self.method, self.after = part, count, how, method, after
            self.made = 0
            self.seen = []

    def next(self, method, path):
        with self._lock:
            self.seen.append((method, path.partition("?")[0]))
            if self.part is None or method != self.method or self.part not in path:
                return None
            if self.after > 0:
                self.after -= 1
                return None
            if self.made >= self.count:
                return None
            self.made += 1
            return self.how


def _handler(upstream, faults):
    class Proxy(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5

        def log_message(self, *args):
            pass

        def handle_any(self):
            fault = faults.next(self.command, self.path)
            if fault == "drop":
                self.close_connection = True
                return
            if fault is not None and fault != "short":
                self.send_response(int(fault))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            link = http.client.HTTPConnection(*upstream, timeout=10)
            try:
                self.pass_on(link, fault)
            finally:
                link.close()

        def pass_on(self, link, fault):
            link.request(self.command, self.path, None, {k: v for k, v in self.headers.items() if k != "Connection"})
            answer = link.getresponse()
            data = answer.read()
            self.send_response(answer.status)
            for key, value in answer.getheaders():
                if key.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                    self.send_header(key, value)
            size = answer.getheader("Content-Length") if self.command == "HEAD" else len(data)
            self.send_header("Content-Length", str(size or 0))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data[: len(data) // 2] if fault == "short" else data)
            if fault == "short":
                self.close_connection = True

        do_GET = do_HEAD = handle_any

    return Proxy


_MOTO = """
import logging, sys
logging.getLogger("werkzeug").setLevel(logging.ERROR)
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def s3_server():
    """(port of the proxy, its faults, port of the server itself).

    The server proper is a process of its own, which ends with its input.
    """
    with subprocess.Popen(
        [sys.executable, "-c", _MOTO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as moto:
        port = int(moto.stdout.readline())
        faults = Faults()
        proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(("127.0.0.1", port), faults))
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy.server_port, faults, port
        finally:
            proxy.shutdown()
            proxy.server_close()
            moto.stdin.close()
            moto.kill()
