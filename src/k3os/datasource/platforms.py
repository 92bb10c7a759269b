"""Every data source: its module, and the DMI strings by which `auto` recognizes its platform.

A module has `fetch(query) -> Found`; it raises NotThere if the machine is not of its platform, and
any other UserError if it is, but the source does not work.
"""

from __future__ import annotations

from k3os.system.files import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from k3os.datasource.found import Found
    from k3os.datasource.query import Query

# the same on every virtual machine of Azure
AZURE = "7783-7084-3265-9085-8269-3286-77"
DMI = "/sys/class/dmi/id"


class DataSource:
    """module: below k3os.datasource; what: for messages; dmi: pairs (DMI file, prefix), of which
    one must match; is_local: needs no network."""

    __slots__ = ("dmi", "is_local", "module", "what")

    def __init__(
        self, module: str, what: str, *dmi: tuple[str, str], is_local: bool = False
    ) -> None:
        self.module = module
        self.what = what
        self.dmi = dmi
        self.is_local = is_local


SOURCES = {
    "aws": DataSource("aws", "Amazon EC2", ("sys_vendor", "Amazon EC2"), ("product_uuid", "ec2")),
    "gcp": DataSource("gcp", "Google Cloud", ("product_name", "Google Compute Engine")),
    "openstack": DataSource(
        "openstack",
        "OpenStack",
        ("product_name", "OpenStack Nova"),
        ("product_name", "OpenStack Compute"),
        ("chassis_asset_tag", "OpenTelekomCloud"),
        ("chassis_asset_tag", "HUAWEICLOUD"),
        ("chassis_asset_tag", "SAP CCloud VM"),
    ),
    # bare metal from many vendors: the firmware does not name the platform
    "packet": DataSource("packet", "Equinix Metal, formerly Packet"),
    "equinix": DataSource("packet", "Equinix Metal, formerly Packet"),
    "scaleway": DataSource("scaleway", "Scaleway", ("sys_vendor", "Scaleway")),
    "vultr": DataSource("vultr", "Vultr", ("sys_vendor", "Vultr")),
    "digitalocean": DataSource("digitalocean", "DigitalOcean", ("sys_vendor", "DigitalOcean")),
    "hetzner": DataSource("hetzner", "Hetzner Cloud", ("sys_vendor", "Hetzner")),
    "azure": DataSource("azure", "Microsoft Azure", ("chassis_asset_tag", AZURE)),
    "nocloud": DataSource("nocloud", "a medium labelled cidata", is_local=True),
    "configdrive": DataSource("configdrive", "a medium labelled config-2", is_local=True),
    "cdrom": DataSource("cdrom", "a CD or disk with userdata", is_local=True),
}
# free if there is no such medium, and some platforms have nothing else
ALWAYS_TRIED = ("nocloud", "configdrive")


def fetch(name: str) -> Callable[[Query], Found]:
    """The function that asks a source; imports the source's module."""
    module = __import__(f"k3os.datasource.{SOURCES[name].module}", fromlist=["fetch"])
    function: Callable[[Query], Found] = module.fetch
    return function


def chosen(names: list[str], dmi: str = DMI) -> list[str]:
    """names without duplicates; `auto` becomes the sources that fit this machine."""
    found: list[str] = []
    for name in names:
        found += [*ALWAYS_TRIED, *platforms(dmi)] if name == "auto" else [name]
    return list(dict.fromkeys(found))


def by_auto(names: list[str], dmi: str = DMI) -> frozenset[str]:
    """The sources that only `auto` selects: nobody named them."""
    return frozenset(chosen(names, dmi)).difference(names)


def platforms(dmi: str) -> list[str]:
    """The sources whose platform matches the firmware's DMI strings."""
    return [
        name
        for name, source in SOURCES.items()
        if any(
            text_of(f"{dmi}/{file}").lower().startswith(text.lower()) for file, text in source.dmi
        )
    ]
