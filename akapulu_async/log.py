"""The one logger: `akapulu_async`. No handler is installed.

At DEBUG each attempt of a call is logged, with four marks: `>` sent, `<` answered (status, milliseconds, and the kind
of the error if it failed), `!` not answered, `~` the pause before the next. At WARNING: conversations that hold a paid
slot or go on although nobody waits for them any more, and objects that were never closed. At INFO: a conversation that
this program left and that goes on, as intended where somebody else is in its room. Lines contain methods, paths and
ids, never headers, bodies or other hosts' addresses. Records about one conversation have `session_id`.
"""

import logging

logger = logging.getLogger("akapulu_async")
