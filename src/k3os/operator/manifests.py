"""placeholder until merge"""

NODE_ACCOUNT = "k3os-node"


def image(version: str) -> str:
    return f"k3os.io/k3os-operator:{version.replace('+', '-')}"


def as_yaml(version: str) -> str:
    raise NotImplementedError
