"""k3os.dns_nameservers, ntp_servers, wifi: settings of connman (connman.conf(5),
connman-service.config(5)).

In the boot phase connman does not run yet and reads them when it starts. Later a changed
main.conf needs a restart; service files are noticed by connman itself.
"""

from __future__ import annotations

from k3os.config.value import Place
from k3os.phases.actions import Action, Refused, RestartUnit, WriteFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

MAIN = "/etc/connman/main.conf"
GENERAL = "[General]"
SERVERS = {
    "k3os.dns_nameservers": "FallbackNameservers",
    "k3os.ntp_servers": "FallbackTimeservers",
}
WIFI = "/var/lib/connman/k3os-wifi.config"


def plan(config: Config, node: Node) -> list[Action]:
    actions = _servers(config, node)
    value = config.get("k3os.wifi")
    if value is not None or node.read(WIFI):  # networks that left the configuration go
        place = value.place if value is not None else Place("default")
        networks: list[str] = []
        for item in config.items("k3os.wifi"):
            entry = item.data if isinstance(item.data, dict) else {}
            texts = {name: str(each.data) for name, each in entry.items()}
            if "\n" in "".join(texts.values()):
                what = "write a network"
                actions.append(Refused("k3os.wifi", item.place, what, "has more than one line"))
                continue
            networks.append(service(texts["ssid"], texts.get("passphrase", "")))
        data = "\n".join(networks).encode(errors="surrogateescape")
        actions.append(WriteFile("k3os.wifi", place, WIFI, data, 0o600))
    return actions


def _servers(config: Config, node: Node) -> list[Action]:
    settings: dict[str, str] = {}
    actions: list[Action] = []
    places = []
    for path, name in SERVERS.items():
        value = config.get(path)
        if value is None:
            continue
        good = []
        for item in config.items(path):
            text = str(item.data)
            if any(character in text for character in ", ;\n"):
                hint = "write each server as an item of a list"
                actions.append(Refused(path, item.place, f"set {name}", "is no server", hint))
            else:
                good.append(text)
        settings[name] = ",".join(good)
        places.append((path, value.place))
    if not places:
        return actions
    key, place = places[0]
    text = with_settings(node.read(MAIN), settings)
    actions.append(WriteFile(key, place, MAIN, text.encode(errors="surrogateescape")))
    if node.phase == "runtime":
        actions.append(RestartUnit(key, place, "connman.service", [actions[-1]]))
    return actions


def with_settings(text: str, settings: dict[str, str]) -> str:
    """main.conf with these keys of [General] set; the other lines stay."""
    lines = [line for line in text.splitlines() if line.partition("=")[0].strip() not in settings]
    if GENERAL not in lines:
        lines.insert(0, GENERAL)
    start = lines.index(GENERAL) + 1
    lines[start:start] = [f"{name}={value}" for name, value in settings.items()]
    return "\n".join(lines) + "\n"


def service(ssid: str, passphrase: str) -> str:
    """One provisioned network. The name in hexadecimal digits, which any bytes survive."""
    digits = ssid.encode(errors="surrogateescape").hex()
    lines = [f"[service_{digits}]", "Type=wifi", f"SSID={digits}"]
    if passphrase:
        lines.append(f"Passphrase={escaped(passphrase)}")
    return "\n".join([*lines, ""])


def escaped(text: str) -> str:
    """A value of a key file (glib, GKeyFile): backslashes doubled, a leading space as \\s."""
    text = text.replace("\\", "\\\\").replace("\t", "\\t")
    return "\\s" + text[1:] if text.startswith(" ") else text
