"""What a backend may answer instead of what it was asked for; each says "swordfish", which nobody may repeat."""

from tests.support.http_proxy import Reply

SECRET = "swordfish"
HTML = {"content-type": "text/html"}
LARGE = 100 * 1024 * 1024

SENSELESS = {
    "garbage": Reply(b"\x00\x01swordfish\xff"),
    "HTML": Reply(b"<html>swordfish</html>", headers=HTML),
    "wrong content type": Reply(b'{"id": "swordfish"}', headers={"content-type": "text/plain"}),
    "no content type": Reply(b'{"id": "swordfish"}', headers={}),
    "truncated": Reply(b'{"id": "swordfi'),
    "cut off": Reply(b'{"id": "swordfish', length=1_000),
    "empty": Reply(b""),
    "not UTF-8": Reply(b'{"id": "swordfish\xff"}'),
    "not a number": Reply(b'{"id": NaN}'),
    "too deep": Reply(b"[" * 200_000),
    "a huge number": Reply(b'{"id": ' + b"9" * 10_000 + b"}"),
    "100 MB": Reply(b'{"id": "' + b"x" * LARGE + b'"}'),
    "100 MB announced": Reply(b'{"id": "', length=LARGE),
    "redirect": Reply(b"", 302, {"location": "http://127.0.0.1:1/swordfish"}),
    "moved for ever": Reply(b"", 308, {"location": "/swordfish"}),
    "JSON 500": Reply(b'{"message": "swordfish"}', 500),
    "HTML 502": Reply(b"<html>swordfish</html>", 502, HTML),
    "timeout 408": Reply(b'{"message": "swordfish"}', 408),
}
"""Nothing can be concluded from these: a change may have been made."""
