"""The kit of several nodes: Linux network namespaces on one bridge, each with a host name and mounts of its own.

A node has one link, `eth0`, with an address of 10.87.0.0/24, and knows all nodes by name (node00, node01, ...). All see
the file system of this machine, as nodes of a cluster see a shared one, until something is mounted over it.
Needs root; nothing outside of the namespaces is changed, and all of it is removed again.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

_HOSTS = Path("/etc/netns")


class Nodes:
    """Nodes on one network."""

    def __init__(self, count: int) -> None:
        self.names = [f"node{rank:02d}" for rank in range(count)]
        # Several test processes may have nodes of the same names.
        self._spaces = [f"polytrain-{os.getpid()}-{name}" for name in self.names]
        self._switch = f"polytrain-{os.getpid()}-switch"
        self._started: list[subprocess.Popen[str]] = []

    def connect(self) -> None:
        """Make the namespaces, and a link from each to the bridge."""
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "bridge", "up")
        hosts = ["127.0.0.1 localhost", *(f"{_address(rank)} {name}" for rank, name in enumerate(self.names))]
        for rank, space in enumerate(self._spaces):
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
            _ip("-n", space, "link", "add", "eth0", "type", "veth", "peer", f"port{rank}", "netns", self._switch)
            _ip("-n", space, "address", "add", f"{_address(rank)}/24", "dev", "eth0")
            _ip("-n", self._switch, "link", "set", f"port{rank}", "master", "bridge", "up")
            self.set_link(rank, is_up=True)
            # Laid over /etc/hosts by `ip netns exec`.
            (_HOSTS / space).mkdir(parents=True)
            (_HOSTS / space / "hosts").write_text("\n".join(hosts) + "\n")

    def set_link(self, rank: int, *, is_up: bool) -> None:
        """Plug the cable of a node in, or pull it."""
        _ip("-n", self._spaces[rank], "link", "set", "eth0", "up" if is_up else "down")

    @contextmanager
    def no_way(self, rank: int, other: int) -> Iterator[None]:
        """Let nothing from one node reach another one; both reach all others."""
        route = ("blackhole", _address(other))
        _ip("-n", self._spaces[rank], "route", "add", *route)
        try:
            yield
        finally:
            _ip("-n", self._spaces[rank], "route", "delete", *route)

    def start(
        self, rank: int, command: Sequence[str], variables: Mapping[str, str], small_disk: Path | None = None
    ) -> subprocess.Popen[str]:
        """Start a command on a node, its output and errors together.

        Args:
            rank: of the node.
            command: what to run.
            variables: of the environment, beside those of this process.
            small_disk: a folder, in which the command finds a disk of 1 MiB in place of what others see there.
        """
        mount = f"mount -t tmpfs -o size=1m small {small_disk} && " if small_disk else ""
        script = f'hostname {self.names[rank]} && {mount}exec "$@"'
        isolated = ["unshare", "--mount", "--uts", "sh", "-c", script, "sh", *command]
        process = subprocess.Popen(
            ["ip", "netns", "exec", self._spaces[rank], *isolated],
            env={**os.environ, "GLOO_SOCKET_IFNAME": "eth0", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def remove(self) -> None:
        """End what still runs, and take everything away."""
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for space in (*self._spaces, self._switch):
            subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False)
            shutil.rmtree(_HOSTS / space, ignore_errors=True)


@contextmanager
def connected_nodes(count: int) -> Iterator[Nodes]:
    """Nodes on one network; skips the test where there can be none."""
    if os.geteuid():
        pytest.skip("network namespaces need root")
    if shutil.which("ip") is None and shutil.which("apt-get") is not None:
        subprocess.run(["apt-get", "install", "-y", "-q", "iproute2"], capture_output=True, timeout=120, check=False)
    if shutil.which("ip") is None:
        pytest.skip("network namespaces need the command ip (package iproute2)")
    nodes = Nodes(count)
    try:
        try:
            nodes.connect()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this machine makes no network namespaces: {error.stderr.strip()}")
        yield nodes
    finally:
        nodes.remove()


def _address(rank: int) -> str:
    return f"10.87.0.{rank + 1}"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
