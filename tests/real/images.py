"""Container images for a lab without registries: the pause image that k3s asks for, and a workload
image with Debian's busybox-static. Written as archives that k3s imports (k3os.image.oci).
"""

from __future__ import annotations

from pathlib import Path

from k3os.image import oci
from k3os.image.tree import Tree
from k3os.system.run import run

BUSYBOX = Path("/bin/busybox")
WORKLOAD = "k3os.io/lab/workload:1"
EPOCH = 0
PAUSE = Path(__file__).with_name("pause.c")


def normal(reference: str) -> str:
    """An image's full name, as containerd stores it: docker.io is the default registry."""
    first, slash, _ = reference.partition("/")
    if not slash:
        return f"docker.io/library/{reference}"
    if "." in first or ":" in first or first == "localhost":
        return reference
    return f"docker.io/{reference}"


def make(pauses: set[str], directory: Path) -> list[Path]:
    """Write an archive for each pause image and one for the workload. Returns their paths."""
    applets = run([str(BUSYBOX), "--list"]).decode().split()
    layer = oci.write_layer(
        tree(applets, pause_program(directory).read_bytes()),
        "busybox",
        directory / "layer.frame",
        EPOCH,
    )
    made = []
    for number, name in enumerate([*sorted(pauses), WORKLOAD]):
        # exec form: the entry point itself gets signals
        command = ["/pause"] if name in pauses else ["/bin/sh"]
        settings = {"Entrypoint": command, "Env": ["PATH=/bin"], "WorkingDir": "/"}
        image = oci.Image(normal(name), "amd64", EPOCH, settings)
        target = directory / f"lab-{number}.tar.zst"
        oci.write_archive(image, [layer], target)
        made.append(target)
    return made


def pause_program(directory: Path) -> Path:
    """Compile it. Raises CommandError."""
    program = directory / "pause"
    run(["cc", "-static", "-O2", "-s", "-o", str(program), str(PAUSE)])
    return program


def tree(applets: list[str], pause: bytes) -> Tree:
    """The files of both images: busybox with a link for each applet, and the pause program."""
    files = Tree()
    files.file("bin/busybox", BUSYBOX.read_bytes(), 0o755)
    for name in applets:
        if name != "busybox":
            files.link(f"bin/{name}", "busybox")
    files.file("pause", pause, 0o755)
    files.file("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")
    return files
