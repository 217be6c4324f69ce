"""Codes that people show or read aloud: 8 characters of Crockford's base 32, which has no I, L, O and U."""

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 8

_LOOK_ALIKES = str.maketrans("ILO", "110", "- ")


def code_of(number: int) -> str:
    """The code of a number below 2**40."""
    return "".join(ALPHABET[number >> 5 * place & 31] for place in reversed(range(LENGTH)))


def normalise(text: str) -> str | None:
    """The code that somebody typed, whatever the case, hyphens, spaces and look-alikes; None if it cannot be one."""
    code = text.upper().translate(_LOOK_ALIKES)
    return code if len(code) == LENGTH and all(character in ALPHABET for character in code) else None


def shown(code: str) -> str:
    """As people read it: XXXX-XXXX."""
    return f"{code[:4]}-{code[4:]}"
