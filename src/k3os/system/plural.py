"""Numbers of things in messages: "1 error", "2 errors"."""


def counted(number: int, one: str, many: str = "") -> str:
    """many: where more than one is not written with an s at the end."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"
