"""System extensions as directories, for tests that mount nothing."""

from pathlib import Path

IMAGE = {"ID": "k3os", "VERSION_ID": "0.1.0", "SYSEXT_LEVEL": "debian13"}
FITTING = {"ID": "k3os", "SYSEXT_LEVEL": "debian13"}


def release_text(fields: dict[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in fields.items())


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def image(root: Path, *paths: str, fields: dict[str, str] = IMAGE) -> Path:
    """The root of a k3OS with these files, by their paths below it."""
    write(root / "usr/lib/os-release", release_text(fields))
    for path in paths:
        write(root / path)
    return root


def extension(root: Path, name: str, *paths: str, fields: dict[str, str] = FITTING) -> Path:
    """An extension with these files."""
    write(root / f"usr/lib/extension-release.d/extension-release.{name}", release_text(fields))
    for path in paths:
        write(root / path)
    return root
