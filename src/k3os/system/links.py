"""Symbolic links below a directory, followed as after chroot(2) into it."""

import os

MOST_LINKS = 40


def resolve(root: str, name: str) -> str:
    """name with all symbolic links resolved as after chroot(2) into root; the last one, too."""
    todo = [part for part in reversed(name.split("/")) if part not in ("", ".")]
    done: list[str] = []
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            done[-1:] = []
            continue
        current = "/".join(["", *done, part])
        try:
            target = os.readlink(root + current)
        except OSError:
            done.append(part)
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(40, "too many symbolic links", name)
        if target.startswith("/"):
            done = []
        todo += [part for part in reversed(target.split("/")) if part not in ("", ".")]
    return "/" + "/".join(done)
