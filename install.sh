#!/bin/sh
# Installs k3OS from any Linux: mounts the ISO and runs the installer that is in it, in a chroot.
# It decides nothing about disks itself. All it mounts is in a mount namespace of its own: this
# system sees nothing of it, and nothing stays, however it ends.
set -eu
umask 022

usage() {
    cat <<USAGE
usage: install.sh [--force-efi] [--no-boot-entry] [--debug] [--tty TTY] [--poweroff] [--takeover]
                  [--no-format] [--insecure] [--config URL|PATH] DEVICE ISO_URL

Installs k3OS to DEVICE, from this running Linux, as root. It does not ask: DEVICE is formatted.
ISO_URL: a path, an https address, or an http or ftp address with #sha256=<hex> at its end, which works
with all. With https, a file of the same name with .sha256 at its end is checked, too.

  --config URL|PATH  the config.yaml to install; without it the ISO's own
  --no-format        DEVICE is a partition labelled K3OS_STATE; it is used as it is
  --takeover         with --no-format: DEVICE is the partition of this system's /. Nothing
                     changes at once; the next boot deletes everything on it that is not k3OS
  --poweroff         power off: now, or with --takeover after the deletion
  --tty TTY          the console of the installed system, e.g. ttyS0; --debug: its debug messages
  --force-efi        insist on a boot loader for UEFI; --no-boot-entry: leave its boot list alone
  --insecure         accept an ISO by http or ftp without #sha256=, which anybody on the way can change
USAGE
}
say() { echo "install.sh: $*" >&2; }
die() { say "error: $*" && exit 1; }
wrong() { say "$1" && usage >&2 && exit 2; }
need() { command -v "$1" >/dev/null 2>&1 || die "$1 is missing; install the package $2"; }
can_mount() {
    modprobe -q "$1" 2>/dev/null || : # built in is as good
    grep -qw "$1" /proc/filesystems ||
        die "this kernel cannot mount $1; install the package that has its module $1.ko"
}
parse() {
    takeover='' no_format='' poweroff='' config='' options='' insecure=''
    while [ $# -gt 0 ]; do
        case $1 in
            -h | --help) usage && exit 0 ;;
            --force-efi | --no-boot-entry | --debug) options="$options $1" ;;
            --takeover) takeover=$1 ;;
            --no-format) no_format=$1 ;;
            --poweroff) poweroff=--power-off ;;
            --insecure) insecure=yes ;;
            --tty | --config)
                [ $# -gt 1 ] || wrong "$1 needs a value"
                if [ "$1" = --config ]; then config=${2#file://}; else options="$options --tty=$2"; fi
                shift ;;
            -*) wrong "unknown option $1" ;;
            *) break ;;
        esac
        shift
    done
    [ $# -eq 2 ] || wrong "DEVICE and ISO_URL are needed, after the options"
    device=$1 iso=${2#file://}
    [ -z "$takeover" ] || [ -n "$no_format" ] || wrong "--takeover needs --no-format, too"
}
check() {
    [ "$(id -u)" = 0 ] || die "only root may install; try sudo"
    machine=$(uname -m)
    case $machine in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) die "there is no k3OS for $machine" ;; esac
    [ -b "$device" ] || die "$device is not a block device; \`lsblk\` lists them"
    for tool in mount umount unshare; do need $tool util-linux; done
    for tool in chroot mktemp sha256sum; do need $tool coreutils; done
    case $iso in *://*) need curl curl ;; *) [ -r "$iso" ] || die "$iso cannot be read" ;; esac
    case $config in '' | *://*) ;; *) [ -r "$config" ] || die "$config cannot be read" ;; esac
    for kind in iso9660 squashfs ext4 vfat; do can_mount $kind; done
}
fetch() { # fetch URL OPTION...: goes on where an earlier try stopped; never from https to http
    case $1 in https:*) only='=https' ;; *) only='=http,https,ftp' ;; esac
    (ulimit -f 33554432 && exec curl --disable --fail --location --proto '=http,https,ftp' \
        --proto-redir "$only" --ftp-method nocwd --connect-timeout 30 --speed-limit 512 --speed-time 60 \
        -C - --max-time 21600 "$@") # 16 GiB; --max-filesize does without a length since curl 8.4 only
}
published_sum() { # the sum that lies beside the ISO, one line as sha256sum(1) writes it; "" for none
    beside=${1%%\?*}.sha256${1#"${1%%\?*}"}
    status=$(fetch "$beside" -s -o "$work/sum" -w '%{http_code}' --max-time 60 --max-filesize 65536) || :
    case $status in
        200 | 226) ;; # of FTP
        404 | 410 | 550) say "there is no $beside: $1 is not checked against a sum" && return ;;
        *) die "$beside: the server answers ${status:-nothing}; try again, or write #sha256=<hex>" ;;
    esac
    tr -d '\r' <"$work/sum" | sed -n 's/^\([^ ]*\)\( [ *].*\)\{0,1\}$/\1/p; t
        s/^SHA256 (.*) = //p; t; s/./?/p' | grep . || echo '?'
}
download() {
    url=${iso%%#*} try=1
    case $insecure,$iso in
        *\#*) sum=${iso#*#sha256=} where="#${iso#*#}" && [ "$url#sha256=${sum:-?}" = "$iso" ] || sum='?' ;;
        ,https:* | yes,*) sum=$(published_sum "$url") where="what lies beside $url" ;;
        *) die "${url%%:*} can be changed on its way: append #sha256=<hex> to the address, or use https" ;;
    esac
    [ -z "$sum" ] || expr "X$sum" : 'X[0-9a-fA-F]\{64\}$' >/dev/null ||
        die "$where is not a checksum; write #sha256=<64 hex digits>"
    say "fetching $url"
    until fetch "$url" -o "$work/k3os.iso" --progress-bar; do
        case $? in 1 | 22) die "$url is refused, or redirects from https to http" ;; 153) die "$url is too large" ;; esac
        [ $((try += 1)) -le 10 ] || die "$url cannot be fetched"
        say "the download was interrupted; attempt $try of 10" && sleep 3
    done
    iso=$work/k3os.iso
    [ -z "$sum" ] || echo "$sum  $iso" | sha256sum -c - >/dev/null 2>&1 ||
        die "$url was damaged on its way: its SHA-256 is not $sum"
}
leave() {
    code=$?
    trap '' INT TERM HUP
    # never rm -r: this system's own / may be mounted in there
    umount -l "$work/root" "$work/iso" 2>/dev/null || :
    rm -f "$work/k3os.iso" "$work/sum"
    rmdir "$work/root" "$work/iso" "$work" || :
    exit $code
}

parse "$@"
check
if [ -z "${K3OS_INSTALL_NAMESPACE:-}" ]; then
    [ -r "$0" ] || die "save this script to a file and run that"
    K3OS_INSTALL_NAMESPACE=yes exec unshare --mount --propagation private /bin/sh "$0" "$@"
fi
work=$(mktemp -d "${TMPDIR:-/var/tmp}/k3os-install.XXXXXX")
trap leave EXIT && trap 'exit 130' INT TERM HUP
root=$work/root medium=/mnt/iso host=/mnt/host && mkdir "$work/iso" "$root"
case $iso in *://*) download ;; esac
if [ -b "$iso" ]; then loop=ro; else loop=loop,ro; fi
mount -t iso9660 -o $loop "$iso" "$work/iso" || die "$iso cannot be mounted: is it an ISO?"
image=$work/iso/k3os/system/current/k3os/rootfs.squashfs
[ -f "$image" ] || die "$iso is not a k3OS ISO"
grep -q "\"arch\": \"$arch\"" "${image%/*/*}/manifest.json" || die "$iso is not for $arch"
mount -t squashfs -o loop,ro "$image" "$root" || die "the ISO's root file system is damaged"
for name in dev sys proc; do mount --rbind "/$name" "$root/$name"; done
for name in run tmp mnt; do mount -t tmpfs -o mode=0755 tmpfs "$root/$name"; done
mkdir -p "$root$medium" "$root$host" "$root/run/connman" "$root/run/udev"
mount --bind "$work/iso" "$root$medium"
# this system's udev tells when a new partition table has settled
[ ! -d /run/udev ] || mount --bind /run/udev "$root/run/udev"
cat /etc/resolv.conf >"$root/run/connman/resolv.conf" 2>/dev/null || :
[ -z "$takeover" ] || mount --bind / "$root$host"
set -- --medium "$medium" --device "$device" --silent --no-reboot
case $config in
    '') ;;
    *://*) set -- "$@" --config "$config" ;;
    *) install -m 600 "$config" "$root/tmp/c.yaml" && set -- "$@" --config /tmp/c.yaml ;;
esac
# shellcheck disable=SC2086
SYSTEMD_IGNORE_CHROOT=1 PATH=/usr/sbin:/usr/bin chroot "$root" /usr/sbin/k3os install "$@" \
    $options $no_format $takeover $poweroff
[ -z "$poweroff" ] || [ -n "$takeover" ] || systemctl poweroff 2>/dev/null || poweroff
