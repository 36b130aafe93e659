"""A process that has imported the command line and forks for each command, since the imports take most of a run.

    python tests/cli/forking.py SOCKET

Each connection to the socket sends one JSON line (`arguments`, `env`, `cwd`, and the files `out` and `err`), and gets
the exit code of the command, which ran in a process of its own.
"""

import json
import os
import signal
import socket
import sys

from akapulu_async import __main__ as program
from akapulu_async.cli import app  # noqa: F401 - imported once, before all forks


def serve(path: str) -> None:
    """Fork for each connection, until killed."""
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
    order = json.loads(connection.makefile().readline())
    command = os.fork()
    if command == 0:
        connection.close()
        _run(order)
    _, status = os.waitpid(command, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _run(order: dict[str, object]) -> None:
    os.chdir(str(order["cwd"]))
    os.environ.clear()
    os.environ.update(order["env"])  # type: ignore[call-overload]
    for number, name in enumerate((os.devnull, order["out"], order["err"])):
        os.dup2(os.open(str(name), os.O_WRONLY if number else os.O_RDONLY), number)
    sys.argv = ["akapulu-async", *order["arguments"]]  # type: ignore[misc]
    sys.exit(program.main())


if __name__ == "__main__":
    serve(sys.argv[1])
