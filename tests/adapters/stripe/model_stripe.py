"""A small Stripe on loopback that behaves as the real one is documented to where emulators do not: it keeps idempotency
keys with what they were used for, refuses to refund too much, and tells why by its own codes."""

import hashlib
import itertools
import json
import time
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

KEY = "sk_test_swordfish"
VISA = {"id": "pm_1", "object": "payment_method", "type": "card", "card": {"brand": "visa", "last4": "4242"}}
Answer = tuple[int, dict[str, Any]]


class ModelStripe:
    """Listens on `url` while it is open."""

    def __init__(self) -> None:
        self.intents: dict[str, dict[str, Any]] = {}
        self.refunds: list[dict[str, Any]] = []
        self.forms: list[dict[str, str]] = []
        self.url = ""
        self._keys: dict[str, tuple[str, Answer]] = {}
        self._ids = itertools.count(1)

    async def __aenter__(self) -> "ModelStripe":
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def act(self, id: str, *, succeeds: bool) -> None:
        """The shopper comes back from 3-D Secure."""
        intent = self.intents[id]
        intent["next_action"] = None
        if succeeds:
            self._hold(intent)
        else:
            intent["status"] = "requires_payment_method"
            intent["last_payment_error"] = {"code": "payment_intent_authentication_failure"}

    async def _handle(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response(_error("", message=f"Invalid API Key: {KEY}"), status=401)
        body = (await request.read()).decode()
        if request.method == "GET":
            status, answer = self._get(request)
            return web.json_response(answer, status=status)
        key = request.headers["Idempotency-Key"]
        print_ = hashlib.sha256(f"{request.path} {body}".encode()).hexdigest()
        if key in self._keys:
            first, (status, answer) = self._keys[key]
            if first != print_:
                return web.json_response(_error("", type="idempotency_error"), status=400)
            return web.json_response(answer, status=status, headers={"Idempotent-Replayed": "true"})
        form = dict(parse_qsl(body))
        self.forms.append(form)
        status, answer = self._post(request.path, form)
        # As a copy: a replay tells what was then.
        self._keys[key] = (print_, (status, json.loads(json.dumps(answer))))
        return web.json_response(answer, status=status)

    def _get(self, request: web.Request) -> Answer:
        words = request.path.split("/")[2:]
        if words == ["refunds"]:
            mine = [r for r in self.refunds if r["payment_intent"] == request.query["payment_intent"]]
            return 200, {"object": "list", "data": mine[::-1], "has_more": False}
        if words == ["payment_intents"]:
            since = int(request.query.get("created[gte]", 0))
            found = [i for i in self.intents.values() if i["created"] >= since][::-1]
            start = next((n + 1 for n, i in enumerate(found) if i["id"] == request.query.get("starting_after")), 0)
            # Smaller pages than asked for, so that going through them is tested.
            return 200, {"object": "list", "data": found[start : start + 2], "has_more": len(found) > start + 2}
        intent = self.intents.get(words[1])
        return (200, intent) if intent else (404, _error("resource_missing", param="intent"))

    def _post(self, path: str, form: dict[str, str]) -> Answer:
        words = path.split("/")[2:]
        marks = {name[9:-1]: value for name, value in form.items() if name.startswith("metadata[")}
        if words == ["payment_intents"]:
            return self._create(form, marks)
        intent = self.intents.get(form.get("payment_intent", words[1] if len(words) > 1 else ""))
        if intent is None:
            return 404, _error("resource_missing", param="intent")
        if words == ["refunds"]:
            return self._refund(intent, form, marks)
        if words[2] == "cancel":
            if intent["status"] not in {"requires_capture", "requires_action", "requires_payment_method"}:
                return 400, _error("payment_intent_unexpected_state")
            intent.update(status="canceled", canceled_at=_now(), amount_capturable=0, next_action=None)
            return 200, intent
        if intent["status"] != "requires_capture":
            return 400, _error("payment_intent_unexpected_state")
        amount = int(form.get("amount_to_capture", intent["amount_capturable"]))
        if amount > intent["amount_capturable"]:
            return 400, _error("amount_too_large", param="amount_to_capture")
        intent["metadata"].update(marks)
        intent.update(status="succeeded", amount_received=amount, amount_capturable=0)
        if released := intent["amount"] - amount:
            self._give_back(intent, released, {})
        return 200, intent

    def _create(self, form: dict[str, str], marks: dict[str, str]) -> Answer:
        method, amount = form["payment_method"], int(form["amount"])
        if form["currency"] == "zzz":
            return 400, _error("", param="currency")
        if method == "pm_unknown":
            return 400, _error("resource_missing", param="payment_method")
        if amount < 50:
            return 400, _error("amount_too_small", param="amount")
        intent: dict[str, Any] = {
            "id": f"pi_{next(self._ids)}",
            "object": "payment_intent",
            "client_secret": "pi_secret_swordfish",
            "amount": amount,
            "amount_capturable": 0,
            "amount_received": 0,
            "currency": form["currency"],
            "created": _now(),
            "canceled_at": None,
            "metadata": marks,
            "latest_charge": None,
            "payment_method": VISA,
            "next_action": None,
            "last_payment_error": None,
            "status": "processing",
        }
        self.intents[intent["id"]] = intent
        if method == "pm_declined":
            error = {"code": "card_declined", "decline_code": "insufficient_funds", "message": "swordfish"}
            intent.update(status="requires_payment_method", last_payment_error={**error, "type": "card_error"})
            return 402, _error(**error, type="card_error", payment_intent=intent)
        if method == "pm_3ds":
            if form.get("error_on_requires_action"):
                error = {"code": "authentication_required"}
                intent.update(status="requires_payment_method", last_payment_error=error)
                return 402, _error(**error, type="card_error", payment_intent=intent)
            action = {"type": "redirect_to_url", "redirect_to_url": {"url": "https://bank.example/3ds"}}
            intent.update(status="requires_action", next_action=action)
        else:
            self._hold(intent)
        return 200, intent

    def _hold(self, intent: dict[str, Any]) -> None:
        charge = {"id": f"ch_{next(self._ids)}", "amount": intent["amount"], "status": "succeeded"}
        intent.update(status="requires_capture", amount_capturable=intent["amount"], latest_charge=charge)

    def _refund(self, intent: dict[str, Any], form: dict[str, str], marks: dict[str, str]) -> Answer:
        back = sum(r["amount"] for r in self.refunds if r["payment_intent"] == intent["id"] and r["metadata"])
        left = intent["amount_received"] - back
        amount = int(form.get("amount", left))
        if not left:
            return 400, _error("charge_already_refunded")
        if amount > left:
            return 400, _error("", param="amount", message="swordfish")
        return 200, self._give_back(intent, amount, marks)

    def _give_back(self, intent: dict[str, Any], amount: int, marks: dict[str, str]) -> dict[str, Any]:
        refund = {
            "id": f"re_{next(self._ids)}",
            "object": "refund",
            "amount": amount,
            "created": _now(),
            "metadata": marks,
            "payment_intent": intent["id"],
            "status": "succeeded",
        }
        self.refunds.append(refund)
        return refund


def _error(code: str, **more: Any) -> dict[str, Any]:
    return {"error": {"type": "invalid_request_error", **({"code": code} if code else {}), **more}}


def _now() -> int:
    return int(time.time())
