"""udev rules for interfaces of k3os.network (udev(7)), for whenever one appears: its MTU, the VLANs
on it, the bond or bridge that it joins, Wake-on-LAN, what the kernel accepts from router
advertisements.
"""

from __future__ import annotations

from k3os.phases.network_plan import LINKS_UNIT, USUAL_MTU, is_awaited

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.network import Interface

# kinds of devices that may have the MAC of another device
VIRTUAL = ("vlan", "bond", "bridge")
_ADDED = 'ACTION=="add", SUBSYSTEM=="net", '


def udev_rules(interface: Interface) -> list[str]:
    """Rules that, when an interface appears, set its MTU, create its VLAN, and make it a member of
    its bond or bridge."""
    if is_awaited(interface.name):
        return [f'{_ADDED}DRIVERS=="?*", ENV{{SYSTEMD_WANTS}}+="{LINKS_UNIT}"\n']
    bare = _matching(interface.name)
    rules = []
    if interface.vlan:
        rules.append(f"{bare}, {add_vlan(interface.device, interface.vlan)}\n")
    elif interface.vlan_number:
        parent = interface.name.rpartition(".")[0]
        rules.append(f"{_matching(parent)}, {add_vlan(interface.name, interface.vlan_number)}\n")
    if interface.owner:
        rules.append(f'{bare}, ENV{{SYSTEMD_WANTS}}+="{LINKS_UNIT}"\n')
    if interface.mtu and not is_made_with_mtu(interface):
        # frames of the VLAN pass through the parent interface
        rules.append(f'{bare}, ATTR{{mtu}}="{interface.mtu}"\n')
        if interface.vlan:
            rules.append(f'{_matching(interface.device)}, ATTR{{mtu}}="{interface.mtu}"\n')
    if interface.wake:
        rules.append(f'{bare}, RUN+="/usr/sbin/ethtool -s $name wol {interface.wake}"\n')
    learned = interface.learned
    if learned.metric or not learned.use_routes:
        from k3os.phases.default_routes import sysctls

        device = _matching(interface.device)
        wanted = sysctls(use_routes=learned.use_routes, metric=learned.metric)
        for name, value in wanted.items():
            rules.append(f'{device}, SYSCTL{{net/ipv6/conf/$name/{name}}}="{value}"\n')
    return rules


def _matching(name: str) -> str:
    if ":" not in name:
        return f'{_ADDED}KERNEL=="{name}"'
    others = "|".join(VIRTUAL)  # these have its MAC, too
    return f'{_ADDED}ATTR{{address}}=="{name}", ENV{{DEVTYPE}}!="{others}"'


def is_made_with_mtu(interface: Interface) -> bool:
    """Devices that k3OS creates get their MTU at creation."""
    return interface.made is not None and not interface.vlan


def below_vlans(right: list[Interface]) -> list[str]:
    """Rules for parents of VLANs without an MTU of their own: the largest of their VLANs' MTUs, if
    that is above the usual one. The kernel rejects a VLAN with a larger MTU than its parent's."""
    given = {each.name for each in right if each.mtu}
    sizes: dict[str, int] = {}
    for each in right:
        if each.mtu and each.below not in given and not is_awaited(each.below):
            sizes[each.below] = max(int(each.mtu), sizes.get(each.below, USUAL_MTU))
    large = {name: size for name, size in sizes.items() if size > USUAL_MTU}
    return [f'{_ADDED}KERNEL=="{name}", ATTR{{mtu}}="{size}"\n' for name, size in large.items()]


def add_vlan(device: str, number: int) -> str:
    """udev's RUN key for ip-link(8)."""
    return f'RUN+="/usr/sbin/ip link add link $name name {device} type vlan id {number}"'
