"""Numbers of things in messages: "1 error", "2 errors"."""


def counted(number: int, one: str, many: str = "") -> str:
    """many: for plurals that do not just add an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"
