"""The keys for additional disks, and for swap; schema.TABLE includes them."""

from __future__ import annotations

from k3os.config.key import ADD_BY, AT_BOOT, BOOT, LATE, Key

DISKS, MOUNTS = "k3os.disks", "k3os.mounts"

DISK_FIELDS = (
    Key(
        "device",
        "path",
        "the disk or partition, best by a name that stays the same, as in `/dev/disk/by-id`",
        required=True,
        example="/dev/vdb",
    ),
    Key(
        "filesystem",
        "choice",
        "the file system to format it with if it is empty",
        aliases=("type", "fstype"),
        values=("ext4", "xfs", "swap"),
        required=True,
    ),
    Key(
        "label",
        "text",
        "its label, by which it is found again: one for each disk, at most 16 characters (ext4), "
        "12 (xfs) or 15 (swap)",
        required=True,
    ),
    Key(
        "mount",
        "path",
        "where it is mounted; required unless it is swap",
        aliases=("where",),
        example="/var/lib/longhorn",
    ),
    Key("options", "mount options", "of mount(8) or swapon(8)"),
)
MOUNT_FIELDS = (
    Key(
        "what",
        "text",
        "`UUID=…`, `LABEL=…`, `PARTUUID=…`, `PARTLABEL=…`, a device, or `server:/path`",
        aliases=("device", "source"),
        required=True,
    ),
    Key(
        "where",
        "path",
        "the place where it is mounted",
        aliases=("mount", "target"),
        required=True,
        example="/var/lib/longhorn",
    ),
    Key(
        "type",
        "choice",
        "its file system; default: what is there, of a server `nfs`",
        aliases=("filesystem", "fstype"),
        values=(
            *("ext4", "xfs", "btrfs", "vfat", "exfat", "ext2", "ext3", "ntfs3", "iso9660", "udf"),
            *("nfs", "nfs4"),
        ),
    ),
    Key("options", "mount options", "of mount(8)"),
)

STORAGE = (
    Key(
        DISKS,
        "maps",
        "disks to format once, if they are empty, and to mount or use as swap; a disk that holds "
        "anything is never formatted",
        merge=ADD_BY,
        identity="label",
        phases=LATE,
        fields=DISK_FIELDS,
        example="[{device: /dev/vdb, filesystem: ext4, label: data, mount: /var/lib/longhorn}]",
        effect=AT_BOOT,
        further="storage.disks",
    ),
    Key(
        MOUNTS,
        "maps",
        "existing file systems on disks and NFS servers, mounted before k3s starts; one "
        "that is missing does not hold up the boot, but k3s if its data is there",
        merge=ADD_BY,
        identity="where",
        phases=LATE,
        fields=MOUNT_FIELDS,
        example="[{what: LABEL=data, where: /srv/data}]",
        effect=AT_BOOT,
        further="storage.mounts",
    ),
    Key(
        "k3os.swap.zram",
        "swap size",
        "swap in compressed memory: `auto`, `off`, a size (`512M`, `2G`), or a percentage of the "
        "memory (`100%`)",
        phases=(BOOT,),
        example="off",
    ),
    Key(
        "k3os.swap.pods",
        "boolean",
        "whether pods may use swap, as far as the kubelet's own settings let them (false)",
        phases=(BOOT,),
        example="true",
    ),
)
