"""The one logger: `akapulu_async`. No handler is installed.

At DEBUG each attempt of a call is logged, with four marks: `>` it is sent, `<` it was answered (status and
milliseconds), `!` it failed, `~` there is a pause before the next. At WARNING, marked `!`, what holds a paid slot or
runs on although nobody waits for it any more, and what was never closed. At INFO, marked `!`, a conversation that this
program has left and that goes on, as is meant to be where somebody else is in its room. Lines bear methods, paths and
ids, never headers, bodies or other hosts' addresses.
"""

import logging

logger = logging.getLogger("akapulu_async")
