"""The API: answers requests as the service does. Pure."""

from collections.abc import Callable, Mapping

from akapulu_async.simulator.answers import JSON_HEADERS, Answer, Refusal, RefusedError, json_answer, refusal_answer
from akapulu_async.simulator.checks import is_uuid
from akapulu_async.simulator.conversation import Conversation
from akapulu_async.simulator.recordings import FORMATS, wav_size
from akapulu_async.simulator.rendering import (
    connect_json,
    detail_json,
    recording_status,
    updates_after_end,
    updates_json,
)
from akapulu_async.simulator.requests import METHODS, Call, Match, Route, parse_connect_request
from akapulu_async.simulator.settings import Settings
from akapulu_async.simulator.storage import Storage, recording_answer
from akapulu_async.simulator.world import UnknownConversationError, World

__all__ = ["Api"]

_AUTH_INVALID = Refusal(401, "AUTH_INVALID", "The API key is not accepted.")
_NOT_FOUND = Refusal(404, "NOT_FOUND", "There is nothing at this path.")
_NO_CONVERSATION = Refusal(404, "CONVERSATION_NOT_FOUND", "No conversation has this id.")
_INVALID_ID = Refusal(400, "INVALID_ID", "The conversation's id must be a UUID.")
_GONE = Refusal(410, "CONVERSATION_ENDED", "The conversation has ended.")
_NO_RECORDING = Refusal(404, "RECORDING_NOT_FOUND", "There is no recording of this conversation.")

_HTML = {"Content-Type": "text/html; charset=utf-8"}
_NOT_FOUND_PAGE = b"<!doctype html><title>Not Found</title><h1>404</h1><p>There is nothing at this path.</p>"


class Api:
    """Answers requests about the conversations of a world."""

    def __init__(self, world: World, storage: Storage, settings: Settings) -> None:
        self._world = world
        self._storage = storage
        self._settings = settings
        self._of_conversation: dict[Route, Callable[[Conversation, Mapping[str, str], float], Answer]] = {
            "updates": self._updates,
            "detail": self._detail,
            "recording": self._recording,
        }

    def answer(self, call: Call, now: float) -> Answer:
        """Answer a request.

        Checks, in this order: the final slash (seen: a 301, whatever the method), the key, the path, the method and
        the id. With `django_errors`, the path and the id come first, and the key last.
        """
        django, where = self._settings.django_errors, call.where
        if django and not _leads_somewhere(where):
            return Answer(404, _HTML, _NOT_FOUND_PAGE)
        if where.route is not None and not where.slash:
            return _redirect_to_slash(call.target)
        if django and where.route is not None and call.method not in METHODS[where.route]:
            return Answer(405, {**_HTML, **_allow(where.route)})
        try:
            return self._dispatch(call, now)
        except RefusedError as refused:
            return refusal_answer(refused.refusal, refused.headers)
        except UnknownConversationError:
            return refusal_answer(_NO_CONVERSATION)

    def _dispatch(self, call: Call, now: float) -> Answer:
        if not self._is_authorized(call.headers.get("Authorization", "")):
            raise RefusedError(_AUTH_INVALID, {"WWW-Authenticate": "Bearer"})
        route, identifier = call.where.route, call.where.conversation_id
        if route is None:
            raise RefusedError(_NOT_FOUND)
        if call.method not in METHODS[route]:
            raise RefusedError(Refusal(405, "METHOD_NOT_ALLOWED", f"{call.method} is not allowed."), _allow(route))
        if identifier is None:
            return json_answer(connect_json(self._world.connect(parse_connect_request(call.body), now)))
        if not is_uuid(identifier):
            raise RefusedError(_INVALID_ID)
        return self._of_conversation[route](self._world.find(identifier, now), call.headers, now)

    def _is_authorized(self, authorization: str) -> bool:
        scheme, _, key = authorization.partition(" ")
        return scheme.lower() == "bearer" and key.strip() == self._settings.api_key

    def _updates(self, conversation: Conversation, _headers: Mapping[str, str], now: float) -> Answer:
        progress, tells_end = conversation.progress(now), False
        if conversation.ended_at is not None:
            match self._settings.after_end:
                case "not_found":
                    raise RefusedError(_NO_CONVERSATION)
                case "gone":
                    raise RefusedError(_GONE)
                case "text":
                    progress, tells_end = updates_after_end(conversation, now), True
                case "unchanged":
                    pass
        return Answer(200, JSON_HEADERS, updates_json(conversation.id, progress), tells_end)

    def _detail(self, conversation: Conversation, _headers: Mapping[str, str], now: float) -> Answer:
        return json_answer(
            detail_json(
                conversation,
                now,
                recording_status(conversation, now, self._settings.recording_delay),
                epoch=self._settings.started_at,
                image_url=self._storage.image_url(conversation.request.avatar_id, now),
            )
        )

    def _recording(self, conversation: Conversation, headers: Mapping[str, str], now: float) -> Answer:
        status = recording_status(conversation, now, self._settings.recording_delay)
        never = conversation.ended_at is not None or not conversation.request.record_conversation
        if never and not status.has_recording:
            raise RefusedError(_NO_RECORDING)
        if not status.is_ready:
            refusal = Refusal(409, "RECORDING_NOT_READY", f"The recording is not ready: {status.status_text}.")
            body = {**refusal.body(), **status.to_json()}
            return json_answer(body, self._settings.recording_not_ready_status)
        kind = self._settings.recording_format
        match self._settings.recording_form:
            case "json":
                return json_answer(status.to_json())
            case "redirect":
                url = self._storage.recording_url(conversation.id, self._recording_size(conversation), kind, now)
                return Answer(302, {"Location": url})
            case "bytes":
                size = self._recording_size(conversation)
                ranges = self._settings.recording_ranges
                return recording_answer(conversation.id, size, headers, kind=kind, ranges=ranges)

    def _recording_size(self, conversation: Conversation) -> int:
        if self._settings.recording_size is not None:
            return self._settings.recording_size
        if self._settings.recording_format != "wav":
            return FORMATS[self._settings.recording_format].smallest
        seconds = self._settings.recording_seconds
        if seconds is None and conversation.ended_at is not None:
            seconds = conversation.spoken_seconds(conversation.ended_at)
        return wav_size(seconds or 0.0)


def _leads_somewhere(where: Match) -> bool:
    """Return True for a known path whose id, if it has one, is a UUID."""
    return where.route is not None and (where.conversation_id is None or is_uuid(where.conversation_id))


def _allow(route: Route) -> dict[str, str]:
    return {"Allow": ", ".join(METHODS[route])}


def _redirect_to_slash(target: str) -> Answer:
    path, mark, query = target.partition("?")
    return Answer(301, {"Location": f"{path}/{mark}{query}"})
