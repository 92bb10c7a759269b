"""Memory as reported by the kernel: /proc/meminfo (proc_meminfo(5)). Reading only."""

from k3os.system.numbers import whole

MIB = 1024  # kB, the unit of /proc/meminfo


def read(path: str = "/proc/meminfo") -> dict[str, int]:
    """Name to kB, {} if there is no such file."""
    try:
        with open(path, errors="replace") as file:
            return parse(file.read())
    except OSError:
        return {}


def parse(text: str) -> dict[str, int]:
    """Lines of "Name:   number kB"; other lines are skipped."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()[:1]
        if number and (value := whole(number[0])) is not None:
            found[name] = value
    return found
