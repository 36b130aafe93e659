"""`doctor` says what is in place, and what to do."""

from akapulu_async.simulator import Simulator
from tests.cli.running import COLOURS, CONTROL_CODES, run, terminal


async def test_all_is_well(still: Simulator) -> None:
    """With all in place it ends with 0, in lines of 80 columns, and never shows the key."""
    done = await run("doctor", sim=still)
    assert (done.code, done.err) == (0, "")
    assert "\nok      account   the key is accepted\n" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    assert not CONTROL_CODES.search(done.out)
    assert still.api_key not in done.out


async def test_json(still: Simulator) -> None:
    """`--json` gives one object with all findings."""
    done = await run("doctor", "--json", sim=still)
    assert (done.code, done.err) == (0, "")
    [report] = done.objects
    assert report["ok"] is True
    assert {finding["status"] for finding in report["findings"]} == {"ok"}
    names = [finding["name"] for finding in report["findings"]]
    assert names == ["key", "address", "service", "clock", "account", "python", "packages"]


async def test_a_problem(still: Simulator) -> None:
    """The first problem gives the exit code, and the line below says what to do."""
    done = await run("doctor", sim=still, environ={"AKAPULU_API_KEY": "wrong-key"})
    assert (done.code, done.err) == (3, "")
    assert "PROBLEM account   the key is not accepted (401)\n" + " " * 18 + "Check the key" in done.out
    done = await run("doctor", "--json", sim=still, environ={"AKAPULU_API_KEY": "wrong-key"})
    assert (done.code, done.objects[0]["ok"]) == (3, False)
    assert "wrong-key" not in done.out


async def test_in_a_terminal(still: Simulator) -> None:
    """In a terminal a problem has a colour."""
    async with terminal("doctor", sim=still, environ={"AKAPULU_API_KEY": "wrong-key"}) as shown:
        assert await shown.end() == 3
    assert COLOURS.search(shown.shown)
    async with terminal("doctor", sim=still, environ={"AKAPULU_API_KEY": "wrong-key", "NO_COLOR": "1"}) as shown:
        assert await shown.end() == 3
    assert not COLOURS.search(shown.shown)


async def test_bad_use() -> None:
    """Bad input is one line, and code 2."""
    done = await run("doctor", "--base-url", "akapulu")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "--base-url: 'akapulu' is not an http(s) URL" in done.err
