"""The logger `akapulu_async`. No handler is installed.

DEBUG has a line for each attempt of a call: `>` sent, `<` answered (with the kind of the error), `!` unanswered, `~` a
pause. WARNING has conversations that hold a slot although nobody waits for them any more, what could not be
ended in time, and what was never closed. INFO has a conversation that was left and may continue, since somebody else is
in its room. Records about one conversation have its `session_id`. Lines contain methods, paths and ids, never headers,
bodies or the addresses of other hosts.
"""

import logging

logger = logging.getLogger("akapulu_async")
