"""A process that has imported everything and forks for each command, since the imports take most of a run.

    python tests/cli/forking.py SOCKET

Each connection to the socket sends the three standard streams and one JSON line (`program`, `arguments`, `env`, `cwd`,
and whether it is in a `terminal`). It gets a line with the process id of the command, and one with its exit code.
"""

import fcntl
import gc
import json
import os
import signal
import socket
import sys
import termios
from contextlib import suppress
from typing import Any

import anyio.abc
import rich.live
import rich.progress
import typer
import uvloop

from akapulu_async import __main__ as program
from akapulu_async import simulator
from akapulu_async.cli import app

IMPORTED = (anyio.abc, program, rich.live, rich.progress, simulator, uvloop)


def serve(path: str) -> None:
    """Fork for each connection, until killed."""
    typer.main.get_command(app.app)  # imports more
    gc.collect()
    gc.freeze()  # a command's own garbage is collected, not what it shares with the others
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for these children
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(100)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    listener.close()
                    _answer(connection)


def _answer(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    order = json.loads(connection.makefile().readline())
    command = os.fork()
    if command == 0:
        connection.close()
        _run(order, streams)
    for stream in streams:
        os.close(stream)
    connection.sendall(f"{command}\n".encode())
    _, status = os.waitpid(command, 0)
    with suppress(BrokenPipeError):  # a command that was killed is not waited for
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _run(order: dict[str, Any], streams: list[int]) -> None:
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    if order["terminal"]:  # it must control the process, so that a typed Ctrl-C becomes a signal
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    # Python decides when it starts how they are buffered.
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.argv = ["akapulu-async", *order["arguments"]]
    exec(order["program"], {"__name__": "__main__"})  # noqa: S102 - the tests' own code
    sys.exit()


if __name__ == "__main__":
    serve(sys.argv[1])
