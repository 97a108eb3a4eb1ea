"""Run commands in a network namespace of their own and record which of them tried to leave it.

    unshare --net --mount python isolated_network.py RECORD.json COMMANDS.json

COMMANDS.json is a list of argument lists. The namespace has one way out, a device that leads
nowhere; names are answered by a server here, ports 80 and 443 are listened to. RECORD.json gets,
for each command, its exit code, its output, the names asked for, the connections accepted and the
packets sent to the device. Needs root, for the namespace.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from queue import Queue

DEVICE = "out0"
ADDRESS = "203.0.113.7"
"""Of the range for documentation: no machine has it."""


def main(record: Path, commands: list[list[str]]) -> None:
    """Run the commands, one after the other."""
    _prepare_network()
    asked: list[str] = []
    _serve_names(asked)
    listeners = [_Listener(port) for port in (80, 443)]
    found = []
    for command in commands:
        asked.clear()
        before = _packets()
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        found.append(
            {
                "command": command,
                "code": done.returncode,
                "output": done.stdout[-2000:] + done.stderr[-2000:],
                "names": sorted(set(asked)),
                "connections": [each for one in listeners for each in one.connections()],
                "packets": _packets() - before,
            }
        )
    record.write_text(json.dumps(found), "utf-8")


def _prepare_network() -> None:
    """Leave the machine's network and its resolver behind."""
    # Neighbours are not sought on the device: what it sends is what a program sends.
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    for line in (
        "ip link set lo up",
        f"ip link add {DEVICE} type veth peer name far0",
        "ip link set far0 up",
        f"ip link set {DEVICE} up",
        f"ip addr add {ADDRESS}/24 dev {DEVICE}",
        f"ip route add default dev {DEVICE}",
    ):
        subprocess.run(line.split(), check=True)
    with tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False) as resolver:
        resolver.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "--bind", resolver.name, "/etc/resolv.conf"], check=True)


def _serve_names(asked: list[str]) -> None:
    """Answer every name with this machine's own address, and record it."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))

    def serve() -> None:
        while True:
            query, client = server.recvfrom(4096)
            labels, place = [], 12
            while query[place]:
                labels.append(query[place + 1 : place + 1 + query[place]].decode("latin-1"))
                place += 1 + query[place]
            asked.append(".".join(labels))
            question = query[12 : place + 5]
            answers = b"\x00\x01" if query[place + 2] == 1 else b"\x00\x00"  # type A alone
            reply = query[:2] + b"\x81\x80\x00\x01" + answers + b"\x00\x00\x00\x00" + question
            if answers == b"\x00\x01":
                reply += b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x01"
            server.sendto(reply, client)

    threading.Thread(target=serve, daemon=True).start()


class _Listener:
    """Accepts connections to a port of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._accepted: Queue[int] = Queue()
        self._server = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, (_, peer) = self._server.accept()
            self._accepted.put(peer)
            connection.close()

    def connections(self) -> list[str]:
        """Return those since the last call: one of our own is accepted behind all of them."""
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            _, own = last.getsockname()
            peers = iter(lambda: self._accepted.get(timeout=30), own)
            return [f"port {self.port}" for _ in peers]


def _packets() -> int:
    lines = Path("/proc/self/net/dev").read_text().splitlines()
    (counts,) = [line.split(":")[1].split() for line in lines if line.strip().startswith(DEVICE)]
    return int(counts[9])  # sent; the eight columns before are of what was received


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text("utf-8")))
