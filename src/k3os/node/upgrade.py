"""Other versions of k3OS, the kernel and k3s on an installed system; and back.

It works in its own mount namespace: for the rest of the system, the state partition's /k3os/system
stays read-only, even if this process is killed.
"""

from __future__ import annotations

import os
import sys

from k3os.errors import UserError
from k3os.generation import layout
from k3os.paths import BASE, K3S_CURRENT, K3S_LINK, ON_TRIAL, RUNNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from k3os.config.load import Config
    from k3os.generation.installed import Installed
    from k3os.upgrade.offer import Offer
    from k3os.upgrade.plan import Part

ON_DISK, LOCK = f"{BASE}/{layout.SYSTEM}", "/run/k3os/upgrade.lock"


def run(options: dict[str, str], carry_out: Callable[[dict[str, str]], int]) -> int:
    """options: of `k3os upgrade`; carry_out: executes them, with the lock held and the state
    partition writable. Raises UserError."""
    from k3os.node.installed import check_installed
    from k3os.system import mounts

    check_installed()
    if os.geteuid() != 0:
        raise UserError("only root may upgrade this system", "write `sudo k3os upgrade …`")
    lock = _alone()
    try:
        if not options.get("--dry-run"):
            mounts.private_namespace()
            mounts.make_writable(BASE)
        return carry_out(options)
    finally:
        os.close(lock)


def say(text: str) -> None:
    print(text, flush=True)


def _alone() -> int:
    """A lock that is released with this process. Raises UserError if another upgrade has it."""
    import fcntl

    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UserError("another upgrade is running", "wait for it, then try again") from None
    return descriptor


def upgrade(options: dict[str, str]) -> int:
    """Collect what is offered, plan, write, switch, start it."""
    import time
    from contextlib import ExitStack

    from k3os.generation import switching
    from k3os.generation.layout import DOWNLOADS, GENERATIONS
    from k3os.k3s.source import machine_arch
    from k3os.upgrade import perform
    from k3os.upgrade.plan import make_plan

    refuse_on_trial()
    installed = look()
    if "--allow-downgrade" in options and (code := back(installed, options)) is not None:
        return code
    arch = machine_arch(os.uname().machine)
    with ExitStack() as stack:
        parts = gather(options, arch, stack)
        decided = make_plan(
            installed,
            parts,
            arch=arch,
            created=int(time.time()),
            allow_downgrade="--allow-downgrade" in options,
        )
        if not decided.changed:
            listed = ", ".join(f"{name} {text}" for name, text in decided.after.items())
            say(f"nothing to do, these are installed: {listed}")
            return 0
        for line in decided.lines():
            say(line)
        if "--dry-run" in options:
            say("nothing was written")
            return 0
        if "k3s" in decided.changed and "k3s" in decided.before:
            copy_datastore(decided.before["k3s"], decided.after["k3s"])
        generation = f"{GENERATIONS}/{decided.number}"
        perform.perform(decided, installed, say, lambda: begin_trial(generation))
    switching.remove(ON_DISK, (DOWNLOADS,))
    start(generation, decided.after.get("k3s", ""), options, reboot=decided.reboot)
    return 0


def refuse_on_trial() -> None:
    if os.path.exists(ON_TRIAL):
        raise UserError(
            "this version is still on trial itself",
            "wait until `k3os status` no longer says so; `journalctl -u k3os-confirm`",
        )


def copy_datastore(old: str, new: str) -> None:
    """A copy as this k3s has it, before another one writes to it. Raises UserError."""
    from k3os.k3s.settings import of_node
    from k3os.upgrade import datastore

    settings = of_node(config())
    told = datastore.going_back(old, new, settings)  # about the copies that existed before
    datastore.snapshot(old, settings, say)
    if told:
        say(told)


def begin_trial(generation: str) -> None:
    """Also for k3s alone: it may wait for a reboot, or the power may fail before it is ready."""
    from k3os.generation import grub, trial

    grub.name_medium(BASE, say)
    trial.begin(BASE, generation, trial_seconds(config()))


def back(installed: Installed, options: dict[str, str]) -> int | None:
    """Go to the previous generation, on trial, if it is exactly what was asked for; None if not.
    Nothing is fetched, and the datastore stays as it is."""
    from k3os.generation import layout, switching
    from k3os.upgrade import previous

    wanted = previous.asked(options)
    if previous.waits_for_a_boot(installed, wanted):
        say("nothing to do, these are installed and wait for a reboot")
        return 0
    if not previous.is_way_back(installed, wanted):
        return None
    before, after = installed.versions, installed.previous_versions
    found = " ".join(f"{name} {version}" for name, version in after.items())
    say(f"back to {installed.previous}, the previous generation: {found}")
    if "--dry-run" in options:
        say("nothing was written")
        return 0
    if before.get("k3s") != after.get("k3s"):
        copy_datastore(before.get("k3s", ""), after.get("k3s", ""))
    begin_trial(installed.previous)
    switching.switch(installed.system, installed.previous, installed.kept)
    generations = (installed.previous, installed.kept)
    same = layout.have_same(installed.system, *generations, ("kernel", "k3os"))
    start(installed.previous, after.get("k3s", ""), options, reboot=not same)
    return 0


def config() -> Config:
    """This node's configuration, as its last boot had it."""
    from k3os.config.load import load_config

    return load_config(cloud=True)[0]


def trial_seconds(settings: Config) -> float:
    """How long a new version has to become healthy."""
    from k3os.generation.trial import DEFAULT_SECONDS

    return float(settings.text("k3os.upgrade.timeout") or DEFAULT_SECONDS)


def look() -> Installed:
    from k3os.generation.installed import read_installed
    from k3os.system.files import text_of

    return read_installed(ON_DISK, text_of(RUNNING))


def gather(options: dict[str, str], arch: str, stack: ExitStack) -> dict[str, Part]:
    """Component to what replaces it, from all given sources."""
    from k3os.upgrade.plan import check_expected, upgradable

    parts: dict[str, Part] = {}
    source = options.get("SRC") or options.get("--k3os")
    if source:
        offer = open_offer(source, arch, options, stack)
        check_expected(offer.manifest, options.get("--expect", ""), offer.origin)
        names = ["k3os", "kernel"] if "--no-kernel" not in options else ["k3os"]
        names = ["kernel"] if "--kernel" in options else names
        if "SRC" in options and "--kernel" not in options:
            names.append("k3s")
        names, note = upgradable(names, look(), offer.manifest, offer.origin)
        if note:
            say(note)
        parts |= offered(offer, names)
    if "--k3s" in options:
        parts |= k3s_part(options["--k3s"], arch, options, stack)
    if not parts:
        raise UserError("contains nothing that was requested", "nothing was written", source or "")
    return parts


def trusted_keys(options: dict[str, str]) -> list[str]:
    """The public keys of image and node, and those of --verify-key. Raises UserError."""
    from k3os.generation.signature import IMAGE_KEYS, NODE_KEYS, read_keys

    given = options.get("--verify-key", "")
    if given and not read_keys([given]):
        raise UserError("holds no public key", "give a .pub file of OpenSSH", given)
    return read_keys([IMAGE_KEYS, NODE_KEYS, given] if given else [IMAGE_KEYS, NODE_KEYS])


def open_offer(source: str, arch: str, options: dict[str, str], stack: ExitStack) -> Offer:
    """The offer of a source, its signature verified. Raises UserError."""
    from k3os.generation.signature import verify
    from k3os.upgrade import offer as offers
    from k3os.upgrade.plan import check_arch

    insecure = "--insecure" in options
    keys = trusted_keys(options)

    def check(data: bytes, signature: bytes, where: str) -> None:
        if insecure:
            say(f"{where}: its signature was not verified (--insecure)")
        else:
            verify(data, signature, keys, where)

    place = workplace(options)
    offer = stack.enter_context(offers.opened(source, arch, place, progress(), check))
    check_arch(offer.manifest, arch, offer.origin)
    check(offer.data, offer.signature, offer.origin)
    return offer


def workplace(options: dict[str, str]) -> str:
    """Where downloads go: on the disk, or in memory if nothing may be written."""
    from k3os.upgrade.perform import scratch

    return scratch("/run/k3os" if "--dry-run" in options else ON_DISK)


def offered(offer: Offer, names: list[str]) -> dict[str, Part]:
    """Those of the components that the offer has."""
    from k3os.upgrade.plan import Part

    draw = progress()
    return {
        name: Part(
            offer.manifest.versions[name],
            offer.manifest.of(name),
            lambda file, path: offer.write(file, path, draw),
            offer.manifest.loaders,
        )
        for name in names
        if name in offer.manifest.versions
    }


def k3s_part(source: str, arch: str, options: dict[str, str], stack: ExitStack) -> dict[str, Part]:
    """k3s by itself, or the one in a k3OS release. Raises UserError."""
    from pathlib import Path

    from k3os.generation.manifest import File
    from k3os.k3s.fetch import fetch
    from k3os.k3s.source import Download, LocalFile, Nothing, parse_source
    from k3os.k3s.trust import of_config
    from k3os.upgrade import offer as offers
    from k3os.upgrade.plan import Part

    if offers.is_release(source):
        parts = offered(open_offer(source, arch, options, stack), ["k3s"])
        if not parts:
            raise UserError("has no k3s", "give a k3s version, URL or path", source)
        return parts
    asked = parse_source(source)
    if isinstance(asked, Nothing):
        raise UserError("a node needs k3s", "give a version, URL or path", "--k3s")
    if isinstance(asked, Download) and not asked.sha256 and "--insecure" not in options:
        raise UserError(
            "comes without a checksum", "add #sha256=HEX to the URL, or give --insecure", source
        )
    draw = progress()
    component = fetch(
        asked,
        arch,
        Path(workplace(options)),
        trust=of_config(config(), insecure="--insecure" in options),
        progress=lambda done, size: draw("k3s", done, size or done),
    )
    assert component is not None
    file = File("k3s", "k3s", component.sha256, component.path.stat().st_size)

    def write(wanted: File, path: str) -> None:
        if isinstance(asked, LocalFile):
            with open(component.path, "rb") as old:
                offers.copy(lambda: old.read(offers.BLOCK), wanted, wanted.size, path, draw)
        else:  # it is on the same file system, verified and synced
            os.rename(component.path, path)

    return {"k3s": Part(component.version, (file,), write)}


def start(generation: str, k3s: str, options: dict[str, str], *, reboot: bool) -> None:
    """Start the new versions. reboot: whether they need one. Raises UserError."""
    from k3os.system.run import run

    if "--no-reboot" in options:
        say("the new versions run after the next boot")
    elif "--reboot" in options:
        say("rebooting")
        run(["systemctl", "--no-block", "reboot"])
    elif reboot:
        say("the new versions run after the next boot: `sudo reboot`")
    else:
        if os.readlink(K3S_LINK) != K3S_CURRENT:  # k3s was fetched, the image had none
            os.unlink(K3S_LINK)
            os.symlink(K3S_CURRENT, K3S_LINK)
        restart_k3s(generation, k3s)


def restart_k3s(generation: str, new: str) -> None:
    """Run the new k3s now; if it is not ready in time, the former one comes back.

    Raises UserError in that case.
    """
    from k3os.generation import trial
    from k3os.node import k3s_restart
    from k3os.system.run import run
    from k3os.upgrade.datastore import hint

    say(f"restarting k3s as {new}; pods keep running")
    settings = config()
    missing = k3s_restart.restart(settings, trial_seconds(settings))
    if not missing:
        with open(RUNNING, "w") as file:  # all of it runs now: the next upgrade must keep it
            file.write(f"{generation}\n")
        trial.confirm(BASE)
        say(f"k3s {new} is ready")
        return
    trial.fail(BASE, f"k3s {new} did not become ready: {missing}")
    trial.go_back(BASE)
    run(["systemctl", "--no-block", "restart", "k3s.service"])
    raise UserError(
        f"k3s {new} did not become ready, {look().versions.get('k3s')} runs again: {missing}",
        f"`journalctl -u k3s` says why. {hint(settings)}".strip(),
    )


def rollback(options: dict[str, str]) -> int:
    """Exchange the generations, and restore the datastore if asked to."""
    from k3os.generation import kernel_args, trial
    from k3os.k3s.settings import of_node
    from k3os.system.run import run
    from k3os.upgrade import datastore, perform

    installed = look()
    arguments = [installed.arguments(each) for each in (installed.current, installed.previous)]
    old, new = installed.versions.get("k3s"), installed.previous_versions.get("k3s")
    if "--with-data" in options:
        settings = of_node(config())
        copy = datastore.copy_for(old, new, settings)
        run(["systemctl", "stop", "k3s.service"])
        datastore.restore(copy, settings)
        say(f"the datastore is that of {copy}; the other one lies beside it as state.db.replaced")
    if arguments[0] != arguments[1]:  # else the next boot would bring them back
        kernel_args.refuse(BASE, arguments[0], "`k3os upgrade --rollback` went back from them")
    perform.rollback(installed, say, lambda: trial.confirm(BASE))
    if "--with-data" not in options and old != new and (hint := datastore.hint(config())):
        say(hint)
    if "--reboot" in options:
        run(["systemctl", "--no-block", "reboot"])
    else:
        say("it runs after the next boot: `sudo reboot`")
    return 0


def progress() -> Callable[[str, int, int], None]:
    """A line that is redrawn on a terminal; elsewhere nothing, the messages are enough."""
    if not sys.stdout.isatty():
        return lambda name, done, size: None
    from k3os.node.progress import progress_bar

    return progress_bar()
