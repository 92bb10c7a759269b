"""k3os.dns_nameservers, ntp_servers, wifi, and whether DHCP may name the node: settings of
connman (connman.conf(5), connman-service.config(5)).

In the boot phase connman is not running yet and reads them when it starts. Later, a change of
main.conf requires a restart; connman notices changed service files by itself.
"""

from __future__ import annotations

from k3os.config.value import Place
from k3os.paths import ROOTFS
from k3os.phases.actions import DONE, UNCHANGED, Action, OwnFile, Refused, WriteFile
from k3os.phases.managed_block import lines_of
from k3os.phases.units import RestartUnit

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
ROUTES = "/proc/net/route"
WAIT_ONLINE = "/usr/sbin/connmand-wait-online"
WAIT_SECONDS = 30
WIFI = "/var/lib/connman/k3os-wifi.config"
STATE = "/var/lib/connman/settings"


def plan(config: Config, node: Node) -> list[Action]:
    actions = _servers(config, node)
    value = config.get("k3os.wifi")
    if value is not None or node.read(WIFI):  # also remove networks that left the configuration
        place = value.place if value is not None else Place("default")
        from k3os.phases.wireless import files, has_line_break, service

        entries = []
        for item in config.items("k3os.wifi"):
            entry = item.data if isinstance(item.data, dict) else {}
            if has_line_break(entry):
                what = "write a network"
                actions.append(Refused("k3os.wifi", item.place, what, "has more than one line"))
                continue
            entries.append(entry)
        actions += files(entries, place, node)
        networks = [service(each) for each in entries]
        data = "\n".join(networks).encode(errors="surrogateescape")
        actions.append(WriteFile("k3os.wifi", place, WIFI, data, 0o600))
        if networks:
            actions.append(_switch_on(node, place, actions[-1]))
    return actions


def _switch_on(node: Node, place: Place, after: Action) -> Action:
    """connman keeps radios off until they have been enabled once."""
    if node.phase == "runtime":
        return EnableWifi(place, after)
    text = with_settings(node.read(STATE), {"Enable": "true"}, "[WiFi]")
    return WriteFile("k3os.wifi", place, STATE, text.encode(), 0o600)


class EnableWifi(Action):
    """Makes a running connman use its radios, if networks were added."""

    __slots__ = ("after",)

    def __init__(self, place: Place, after: Action) -> None:
        super().__init__("k3os.wifi", place)
        self.after = after

    def describe(self) -> str:
        return "switch the radios on, if networks were added"

    def perform(self, node: Node) -> str:
        from k3os.system.run import run

        if not node.is_real or self.after.result != DONE:
            return UNCHANGED
        # fails if they are on already, which is fine
        run(["connmanctl", "enable", "wifi"], timeout=30, check=False)
        return DONE


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
                actions.append(Refused(path, item.place, f"set {name}", "is not a server", hint))
            else:
                good.append(text)
        settings[name] = ",".join(good)
        places.append((path, value.place))
    pinned = config.get("hostname")
    if pinned is not None:  # otherwise the DHCP server may name the node
        settings["AllowHostnameUpdates"] = "false"
        places.append(("hostname", pinned.place))
    mine = node.ours.is_as_left(MAIN)
    if not places and not mine:
        return actions
    key, place = places[0] if places else (next(iter(SERVERS)), Place("default"))
    # based on the image's file, so that former settings disappear; or on somebody else's
    text = with_settings(node.read(ROOTFS + MAIN if mine else MAIN), settings)
    actions.append(OwnFile(key, place, MAIN, text.encode(errors="surrogateescape")))
    if node.phase == "runtime":
        actions.append(Restart(key, place, "connman.service", [actions[-1]]))
    return actions


class Restart(RestartUnit):
    """connman drops all addresses while it restarts. Wait until they are back, so that the commands
    and k3s that follow find a network; not on a node that had none."""

    __slots__ = ()

    def perform(self, node: Node) -> str:
        from k3os.system.run import CommandError, run

        had_network = len(node.read(ROUTES).splitlines()) > 1  # the first line is the header
        result = super().perform(node)
        if result == DONE and had_network:
            try:
                run([WAIT_ONLINE, f"--timeout={WAIT_SECONDS}"], timeout=WAIT_SECONDS + 5)
            except CommandError:
                self.note = f"the network was not back after {WAIT_SECONDS} s"
        return result


def with_settings(text: str, settings: dict[str, str], section: str = GENERAL) -> str:
    """A key file with these keys set in one section; the other lines stay."""
    lines = lines_of(text)
    if section not in lines:
        lines += ["", section] if lines else [section]
    start = lines.index(section) + 1
    end = next((i for i in range(start, len(lines)) if lines[i].startswith("[")), len(lines))
    kept = [line for line in lines[start:end] if line.partition("=")[0].strip() not in settings]
    lines[start:end] = [*(f"{name}={value}" for name, value in settings.items()), *kept]
    return "\n".join(lines) + "\n"
