"""Keys that only some versions of k3s support: advice before such a k3s reads them
(k3os.containerd: containerd.py).

The versions are in k3s_table.py, with those of the flags that the keys become.
"""

from __future__ import annotations

from k3os.config.value import Problem, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# key -> the flag for servers that it becomes
FLAGS = {"k3os.embedded_registry": "embedded-registry"}
# key -> the first k3s that reads the resulting file, and what older ones do not do
FILES = {"k3os.kubelet": ((1, 32), "reads no directory of kubelet settings")}


def check(values: dict[str, Value], k3s_version: str) -> Iterator[Problem]:
    """An error for each key that this k3s ("": unknown) does not support. values: of one source,
    or of all."""
    from k3os.config.k3s_table import minor

    if "k3os.containerd" in values or "write_files" in values:
        from k3os.config import containerd

        yield from containerd.problems(values, k3s_version)
    for key in (*FLAGS, *FILES):
        value = values.get(key)
        if value is None or value.data is False:
            continue
        if why := obstacle(key, minor(k3s_version)):
            yield Problem(value.place, key, why, "leave it out, or take a newer k3s")


def obstacle(key: str, version: tuple[int, int] | None) -> str:
    """Why a k3s of this version (None, (0, 0): unknown) does not support a key, "" if it does."""
    from k3os.config.k3s_table import flags

    since, without = FILES.get(key, ((0, 0), ""))
    if key in FLAGS:
        since, without = flags("server")[FLAGS[key]].since, f"has no --{FLAGS[key]}"
    if not version or version == (0, 0) or version >= since:
        return ""
    came = f"it came with v{since[0]}.{since[1]}"
    return f"k3s v{version[0]}.{version[1]} {without}: {came}"
