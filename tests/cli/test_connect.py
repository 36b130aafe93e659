"""`connect` follows one conversation from connect to end."""

import re
import signal
from uuid import UUID

import pytest

from akapulu_async.simulator import Fault, Simulator
from tests.cli.running import (
    COLOURS,
    CONTROL_CODES,
    HANG,
    IDS,
    as_read,
    connecting,
    reaching,
    rest_of,
    run,
    running,
    terminal,
)
from tests.support.managed import crowded

EMBEDDED = ("--simulator", "--speed", "100")  # polled 100 times as often, too
STATES = ["connecting", "room_joined", "bot_ready", "ended"]


async def test_plain_lines() -> None:
    """Without a terminal, it shows room and states as plain lines of 80 columns, and no token."""
    done = await run("connect", *EMBEDDED)
    assert done.code == 0
    states = [
        words[2] for line in done.out.splitlines() if (words := line.split())[1:2] == ["s"] and words[2] in STATES
    ]
    assert states == STATES
    assert "ended (completed)" in done.out
    assert "\nRoom https://simulator.daily.co/" in done.out
    assert not CONTROL_CODES.search(done.out + done.err)
    assert max(map(len, done.out.splitlines())) <= 80
    assert "eyJ" not in done.out + done.err


async def test_the_link_only_when_asked_for() -> None:
    """`--show-link` shows the link with the token, in one piece."""
    done = await run("connect", *EMBEDDED, "--show-link")
    assert done.code == 0
    [line] = [line for line in done.out.splitlines() if "?t=eyJ" in line]
    assert "keep it to yourself: https://simulator.daily.co/" in line


async def test_options_reach_the_service(sim: Simulator) -> None:
    """Variables, recording, voice-only and the AI label reach the service."""
    done = await run(
        "connect",
        *IDS,
        "--var",
        "user_name=A=B",
        "--var",
        "x=",
        "--record",
        "--voice-only",
        "--show-ai-label",
        "--transcript",
        sim=sim,
    )
    assert done.code == 0
    [conversation] = sim.conversations.values()
    assert conversation.request.raw["runtime_vars"] == {"user_name": "A=B", "x": ""}
    assert conversation.request.raw["record_conversation"] is True
    assert conversation.request.raw["voice_only_mode"] is True
    assert conversation.request.raw["show_ai_label"] is True
    assert '"customer":"A=B"' in done.out
    assert "--show-link" in done.err


async def test_json() -> None:
    """`--json` prints one object per line: room, states, progress and transcript, without the token."""
    done = await run("connect", *EMBEDDED, "--json", "--transcript")
    assert (done.code, done.err) == (0, "")
    assert [line["state"] for line in done.objects if line["event"] == "state"] == STATES
    assert [line["event"] for line in done.objects][:2] == ["state", "room"]
    assert done.objects[-2]["end_reason"] == "completed"
    assert max(line["percent"] for line in done.objects if line["event"] == "progress") == 100
    assert done.objects[-1]["event"] == "transcript"
    assert done.objects[-1]["rows"][0] == {
        "node_id": "greeting", "role": "assistant", "text": "Hello! I am here to help. How are you today?",
    }  # fmt: skip
    [room] = [line for line in done.objects if line["event"] == "room"]
    assert str(UUID(room["session_id"])) == room["session_id"]
    assert room["room_url"].startswith("https://simulator.daily.co/")
    assert "eyJ" not in done.out


async def test_json_with_the_link() -> None:
    """`--json --show-link` prints the link with the token."""
    done = await run("connect", *EMBEDDED, "--json", "--show-link")
    [room] = [line for line in done.objects if line["event"] == "room"]
    assert room["join_url"].startswith(f"{room['room_url']}?t=eyJ")


async def test_embedded() -> None:
    """`--simulator` needs neither account nor ids."""
    done = await run("connect", "--simulator", "--speed", 60, "--transcript")
    assert done.code == 0
    assert "ended (completed)" in done.out
    assert "assistant: You are welcome." in done.out


@pytest.mark.parametrize(
    ("fault", "code", "named"),
    [
        (Fault(route="connect", status=401, body={"error_code": "AUTH_INVALID"}), 3, "AUTH_INVALID"),
        (Fault(route="connect", status=403), 3, "403"),
        (Fault(route="connect", status=404), 4, "404"),
        (Fault(route="connect", status=402, body={"error_code": "MINUTES_LIMIT_REACHED"}), 5, "MINUTES_LIMIT_REACHED"),
        (Fault(route="connect", status=500), 8, "500"),
        (Fault(route="connect", reset="after"), 8, "may exist and hold a slot"),
    ],
)
async def test_refusals(sim: Simulator, fault: Fault, code: int, named: str) -> None:
    """A failed connect is one line on stderr, and the exit code says why."""
    sim.add_fault(fault)
    done = await run("connect", *IDS, "--json", sim=sim)
    assert (done.code, done.err.count("\n")) == (code, 1)
    assert named in done.err
    assert [line["state"] for line in done.objects] == ["connecting", "ended"]
    assert done.objects[-1]["end_reason"] == "connect_failed"


async def test_never_ready(still: Simulator) -> None:
    """A conversation that is not ready in time has an exit code of its own."""
    done = await run("connect", *IDS, "--ready-timeout", "0.3", sim=still)
    assert done.code == 6
    assert "ended (ready_timeout)" in done.out
    assert done.err.splitlines()[-1].startswith("akapulu-async: Conversation ")


async def test_the_first_ctrl_c_ends_it(still: Simulator) -> None:
    """SIGINT ends it cleanly: the end and the transcript are shown, and the code is 130."""
    async with running("connect", *IDS, "--transcript", sim=still) as process:
        await still.wait_for_request("updates", timeout=HANG)
        process.send_signal(signal.SIGINT)
        done = await rest_of(process)
    assert done.code == 130
    assert "ended (cancelled)" in done.out
    assert "Nothing was said." in done.out
    assert "akapulu-async watch " in done.err
    assert "Traceback" not in done.err


async def test_sigterm_ends_it(still: Simulator) -> None:
    """SIGTERM works like Ctrl-C."""
    async with running("connect", *IDS, "--json", sim=still) as process:
        await still.wait_for_request("updates", timeout=HANG)
        process.send_signal(signal.SIGTERM)
        done = await rest_of(process)
    (session_id,) = still.conversations
    assert done.code == 130
    assert str(session_id) in done.err
    assert done.err.count("\n") == 1
    assert done.objects[-1]["end_reason"] == "cancelled"


async def test_ctrl_c_while_it_connects() -> None:
    """A connect in flight is waited for, so that the conversation that holds a slot is named."""
    async with crowded() as service:
        service.crowd.gate.clear()
        async with running("connect", *IDS, "--json", environ=reaching(service)) as process:
            await connecting(service)
            process.send_signal(signal.SIGINT)  # delivered before the answer, so it is handled first
            service.crowd.gate.set()
            done = await rest_of(process)
    assert done.code == 130
    [session_id] = service.crowd.ids
    assert str(session_id) in done.err
    assert done.err.count("\n") == 1


async def test_the_second_ctrl_c_ends_it_at_once(still: Simulator) -> None:
    """A second SIGINT does not wait for the clean-up of the first."""
    still.add_fault(Fault(route="detail", delay=60))
    async with running("connect", *IDS, "--transcript", sim=still) as process:
        await still.wait_for_request("updates", timeout=HANG)
        process.send_signal(signal.SIGINT)
        await still.wait_for_request("detail", timeout=HANG)
        process.send_signal(signal.SIGINT)
        done = await rest_of(process)
    assert done.code == 130
    assert "Traceback" not in done.err


async def test_in_a_terminal() -> None:
    """In a terminal there are a bar, colours and a question for the transcript; the cursor is shown again."""
    async with terminal("connect", *EMBEDDED) as shown:
        await shown.expect("Show the transcript")
        shown.type("y\n")
        assert await shown.end() == 0
    assert "━" in shown.shown
    assert COLOURS.search(shown.shown)
    assert "assistant: Hello!" in as_read(shown.shown)
    assert shown.shown.rfind("\x1b[?25h") > shown.shown.rfind("\x1b[?25l")


async def test_no_is_an_answer() -> None:
    """After no, the transcript is not shown."""
    async with terminal("connect", *EMBEDDED) as shown:
        await shown.expect("Show the transcript")
        shown.type("n\n")
        assert await shown.end() == 0
    assert "assistant:" not in shown.shown


async def test_ctrl_c_is_an_answer() -> None:
    """Ctrl-C at the question ends it, without a traceback."""
    async with terminal("connect", *EMBEDDED) as shown:
        await shown.expect("Show the transcript")
        shown.type("\x03")
        assert await shown.end() == 130
    assert shown.shown.endswith("\n")
    assert "Traceback" not in shown.shown


async def test_no_colour() -> None:
    """`NO_COLOR` leaves the bar, without colours."""
    async with terminal("connect", *EMBEDDED, environ={"NO_COLOR": "1"}) as shown:
        await shown.expect("Show the transcript")
        shown.type("y\n")
        assert await shown.end() == 0
    assert "━" in shown.shown
    assert not COLOURS.search(shown.shown)


async def test_a_dumb_terminal_gets_lines() -> None:
    """A terminal that cannot be redrawn gets no control codes."""
    async with terminal("connect", *EMBEDDED, environ={"TERM": "dumb"}) as shown:
        assert await shown.end() == 0
    assert "\x1b" not in shown.shown
    assert "ended (completed)" in shown.shown


async def test_a_typed_ctrl_c(still: Simulator) -> None:
    """After Ctrl-C in a terminal the screen is clean, nothing is asked, and the way back is shown."""
    async with terminal("connect", *IDS, sim=still) as shown:
        await still.wait_for_request("updates", timeout=HANG)
        shown.type("\x03")
        assert await shown.end() == 130
    text = as_read(shown.shown)
    assert "ended (cancelled)" in text
    assert "Show the transcript" not in text
    assert re.search(r"watch [0-9a-f-]{36}\n$", text)
    assert still.count("detail") == 0


async def test_ctrl_c_with_the_embedded_simulator() -> None:
    """Nothing promises that a conversation of the embedded simulator continues or holds a slot."""
    async with terminal("connect", "--simulator", "--speed", "1") as shown:
        await shown.expect("Room ")
        shown.type("\x03")
        assert await shown.end() == 130
    text = as_read(shown.shown)
    assert text.endswith("Stopped. The simulator ends, and its conversation with it.\n")
    assert "slot" not in text


async def test_two_typed_ctrl_cs(still: Simulator) -> None:
    """The second Ctrl-C ends it at once; the cursor is shown again, and the prompt begins a line."""
    still.add_fault(Fault(route="detail", delay=60))
    async with terminal("connect", *IDS, "--transcript", sim=still) as shown:
        await still.wait_for_request("updates", timeout=HANG)
        shown.type("\x03")
        await still.wait_for_request("detail", timeout=HANG)
        shown.type("\x03")
        assert await shown.end() == 130
    assert shown.shown.endswith("\x1b[?25h\r\n")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--scenario is missing"),
        (["--scenario", IDS[1]], "--avatar is missing"),
        (["--scenario", "x"], "--scenario: 'x' is not a UUID such as"),
        (["--avatar", "x"], "--avatar: 'x' is not a UUID such as"),
        ([*IDS, "--var", "x"], "--var: 'x' is not NAME=VALUE"),
        (
            [*IDS, "--ready-timeout", "soon"],
            "--ready-timeout: 'soon' is not a number of seconds greater than 0, or none",
        ),
        ([*IDS, "--ready-timeout", "0"], "--ready-timeout: '0'"),
        ([*IDS, "--base-url", "http://a.example"], "--base-url: 'http://a.example' would send the API key unencrypted"),
        ([*IDS, "--speed", "2"], "--speed 2 is only for --simulator"),
        (["--simulator", "--speed", "fast"], "--speed: 'fast' is not a number greater than 0"),
        (
            ["--simulator", "--base-url", "https://a.example"],
            "--base-url https://a.example cannot be combined with --simulator",
        ),
        ([*IDS, "--colour"], "--colour"),
        ([*IDS, "--api-key=very-secret"], "No such option: --api-key;"),
        ([*IDS, "extra"], "extra"),
        (IDS, "AKAPULU_API_KEY"),
    ],
)
async def test_bad_use(arguments: list[str], named: str) -> None:
    """Bad input is one line with the option, the value and what it must be, and code 2."""
    done = await run("connect", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("akapulu-async")
    assert named in done.err
    assert "very-secret" not in done.err
