"""`k3os install`, also called `os-config`: put k3OS onto a disk.

Settings without an option come from `k3os.install` in the configuration, which includes the
kernel's command line. In install mode, k3os-install.service calls it with --automatic.
"""

from __future__ import annotations

import os
import sys

from k3os.cli.options import count, read
from k3os.errors import UserError
from k3os.generation import layout
from k3os.paths import BASE, LOCAL_CONFIG, OWN_SYSTEM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from k3os.config.load import Config
    from k3os.generation.install_medium import InstallMedium
    from k3os.install.plan import InstallRequest
    from k3os.install.questions import Answers
    from k3os.system.console import Say

HELP = """\
usage: k3os install [options]

Install the running live system to a disk. Without --device, --config and --no-format it asks for
everything: the disk, who may log in, server or agent; or it configures the running system instead.
It shows what will happen and asks once more before it writes anything.

  --device PATH   the disk to erase and install to (with --no-format: the partition)
  --config URL    a config.yaml to install: http, https, ftp, tftp (#sha256=HEX may follow), or
                  a path; default: that of the running medium. Keys on the kernel command line
                  are added, but with --config not its commands and data sources, which were for
                  this boot.
  --iso URL       install this ISO (http, https) instead of the running system. Without a sum
                  (URL#sha256=HEX), it must be signed with a key that this system knows, if it
                  knows one
  --insecure      accept an unsigned ISO, or one that comes by http without a sum
  --no-cmdline    do not install keys on the kernel command line
  --silent        do not ask
  --no-format     use the partition labelled K3OS_STATE as it is
  --no-boot-entry leave the firmware's boot list (UEFI) as it is; do not put k3OS first
  --force-efi     insist on a boot loader for UEFI (a formatted disk always gets both)
  --tty TTY       the console of the installed system, e.g. ttyS0
  --power-off     power off afterwards instead of rebooting
  --debug         the installed system boots with debug messages

From another Linux (as install.sh calls it, in a chroot):
  --medium PATH   where the medium to install from is mounted (/.base, the running live system's)
  --takeover      with --no-format: --device is the partition of the root of the running system,
                  which is mounted at /mnt/host; the next boot deletes that system
  --no-reboot     do not reboot or power off afterwards
"""
FLAGS = {
    "--silent": "silent",
    "--no-format": "no_format",
    "--no-cmdline": "no_cmdline",
    "--force-efi": "force_efi",
    "--no-boot-entry": "no_boot_entry",
    "--power-off": "power_off",
    "--debug": "debug",
    "--insecure": "insecure",
}
VALUES = {
    "--device": "device",
    "--config": "config_url",
    "--iso": "iso_url",
    "--tty": "tty",
}
# only the caller sets these, never a configuration
CALLERS_FLAGS = {"--takeover": "takeover", "--no-reboot": "no_reboot"}
CALLERS_VALUES = {"--medium": "medium"}
# with any of these given, a person is only asked to confirm
ANSWERED = ("device", "config_url", "no_format")
CMDLINE = "/proc/cmdline"


def main(argv: list[str]) -> int:
    """Exit code 0: installed; 1: refused, failed or declined; 2: wrong usage."""
    automatic = argv == ["--automatic"]
    options = {} if automatic else parse(argv)
    medium = options.get("medium", BASE)
    refuse_where_it_makes_no_sense(medium)
    say: Say = print
    if automatic:
        from k3os.system.console import say
    try:
        return _install(options, say, automatic=automatic)
    except EOFError:
        say("no answer, so nothing was written")
        return 1
    except UserError as error:
        if not automatic:
            raise
        say(f"NOT INSTALLED: {error}")
        say("this is the live system now; `sudo k3os install` tries again")
        return 1
    except Exception as error:
        if automatic:  # show the traceback on the console: nobody should have to search for it
            say(f"NOT INSTALLED, this is a bug of k3OS: {type(error).__name__}: {error}")
        raise


def parse(argv: list[str]) -> dict[str, str]:
    """Setting name to text ("true" for a flag). Raises Usage."""
    words, given = read(HELP, argv)
    count(HELP, words, 0, 0)
    flags, values = {**FLAGS, **CALLERS_FLAGS}, {**VALUES, **CALLERS_VALUES}
    return {
        **{flags[name]: "true" for name in given if name in flags},
        **{values[name]: value for name, value in given.items() if name in values},
    }


def refuse_where_it_makes_no_sense(medium: str) -> None:
    if os.geteuid() != 0:
        raise UserError("only root may install", "write `sudo k3os install`")
    if not os.path.isdir(f"{medium}/{layout.SYSTEM}"):
        if medium != BASE:
            raise UserError("no k3OS is mounted there", "mount the ISO there", medium)
        raise UserError("this is not a live k3OS system", "boot the ISO and install from there")
    from k3os.system.mounts import mounted

    if any(where[1:] == (BASE, "ext4") for where in mounted()):
        raise UserError(
            "this system is installed already",
            "boot the ISO to install again; `sudo k3os reset` deletes the data only",
        )


def settings(config: Config, options: dict[str, str]) -> dict[str, str]:
    """Every setting of k3os.install as a text, "true" or ""; options take precedence."""
    names = (*FLAGS.values(), *VALUES.values())
    found = {}
    for name in names:
        value = config.get(f"k3os.install.{name}")
        if value is not None:
            is_flag = isinstance(value.data, bool)
            found[name] = ("true" if value.data else "") if is_flag else str(value.data)
    callers = (*CALLERS_FLAGS.values(), *CALLERS_VALUES.values())
    return {**dict.fromkeys((*names, *callers), ""), **found, **options}


def request(wanted: dict[str, str], *, fallback: bool) -> InstallRequest:
    from k3os.install.plan import InstallRequest

    return InstallRequest(
        device=wanted["device"],
        config_url=wanted["config_url"],
        no_format=bool(wanted["no_format"]),
        force_efi=bool(wanted["force_efi"]),
        tty=wanted["tty"],
        debug=bool(wanted["debug"]),
        no_boot_entry=bool(wanted["no_boot_entry"]),
        keep_installed=fallback,
    )


def _install(options: dict[str, str], say: Say, *, automatic: bool) -> int:
    from k3os.config.advice import of_cmdline
    from k3os.config.check import check_text
    from k3os.config.cmdline import boot_options
    from k3os.config.load import load_config
    from k3os.generation import install_medium
    from k3os.install import config, plan, questions
    from k3os.node.progress import progress_bar
    from k3os.phases import environment

    medium = options.get("medium", BASE)
    if medium == BASE:
        with open(CMDLINE, errors="surrogateescape") as file:
            cmdline = file.read()
        running, own_config = load_config()[0], f"{OWN_SYSTEM}/config.yaml"
    else:  # another system is running: neither its command line nor its files are ours
        system = f"{medium}/{layout.SYSTEM}"
        cmdline, own_config = "", f"{system}/config.yaml"
        running = load_config(system_dir=system, cmdline="")[0]
        environment.adopt(environment.read(running)[0])
    wanted = settings(running, options)
    fallback = automatic and "k3os.mode" not in boot_options(cmdline)
    what = install_medium.read_medium(medium)
    answers = ""
    if not wanted["silent"] and not any(wanted[name] for name in ANSWERED):
        usable = plan.usable(what, keep_installed=fallback)
        terminal = questions.on_this_terminal()
        if automatic:
            wanted["device"] = questions.ask_disk(terminal, usable) if usable else ""
        else:
            login = config.has_login(running.values)
            given = questions.ask(
                terminal, usable, has_login=login, interfaces=os.listdir("/sys/class/net")
            )
            if given.what == questions.CONFIGURE:
                return configure(given, say)
            wanted = {**wanted, "device": given.device, "config_url": given.config_url}
            answers = given.config()
    if not wanted["device"]:  # it may be misspelt on the command line
        for problem in of_cmdline(cmdline):
            say(str(problem))
    asked = request(wanted, fallback=fallback)
    bar = progress_bar() if sys.stdout.isatty() else None

    def compose(medium_config: str, k3s_version: str) -> bytes:
        return config.compose(
            medium_config,
            asked.config_url,
            cmdline,
            say,
            answers=answers,
            with_cmdline=not wanted["no_cmdline"],
            k3s_version=k3s_version,
        )

    if not wanted["iso_url"]:
        text = compose(own_config, config.k3s_version(what))
        return carry_out(asked, what, text, wanted, say, bar)
    # before the long download, refuse what can be refused without it
    text = compose(own_config, "") if asked.config_url else b""
    from k3os.install import iso

    with iso.fetched(wanted["iso_url"], say, bar, insecure=bool(wanted["insecure"])) as what:
        inside = f"{what.root}/{layout.CONFIG}"
        if text:
            values = check_text(text, "config.yaml")[0]
            config.check_for_k3s(values, say, config.k3s_version(what))
        else:
            config_path = inside if os.path.exists(inside) else own_config
            text = compose(config_path, config.k3s_version(what))
        return carry_out(asked, what, text, wanted, say, bar)


def carry_out(
    asked: InstallRequest,
    what: InstallMedium,
    text: bytes,
    wanted: dict[str, str],
    say: Say,
    bar: Callable[[str, int, int], None] | None,
) -> int:
    """Plan it, show the plan, ask for confirmation, do it."""
    from k3os.generation import grub, kernel_args
    from k3os.install import plan, takeover
    from k3os.install.perform import install

    power_off = bool(wanted["power_off"])
    decided: plan.Plan | takeover.Takeover
    if wanted["takeover"]:
        decided = takeover.make_plan(asked, what, text, power_off=power_off)
    else:
        arguments = bool(kernel_args.of_config(text))
        menu = grub.menu(asked.tty, debug=asked.debug, arch=what.arch, arguments=arguments)
        decided = plan.make_plan(asked, what, text, menu)
    for line in decided.lines():
        say(line)
    if not wanted["silent"] and not confirmed():
        say("nothing was written")
        return 1
    if isinstance(decided, takeover.Takeover):
        takeover.take_over(decided, say, bar)
    else:
        install(decided, say, bar)
    return 0 if wanted["no_reboot"] else finish(power_off, say)


def confirmed() -> bool:
    """Ask on the terminal before any data is lost."""
    from k3os.install.questions import on_this_terminal

    return on_this_terminal().text("Type yes to go on") == "yes"


def configure(given: Answers, say: Say) -> int:
    """Give the answers to the running system: write and apply them, restart k3s."""
    from k3os.config.key import RUNTIME
    from k3os.install import config
    from k3os.node.configure import apply
    from k3os.node.k3s_fetch import MANIFEST, wanted_version
    from k3os.system.files import atomic_write
    from k3os.system.run import run

    text = config.fetch(given.config_url) if given.config_url else given.config().encode()
    version = wanted_version(MANIFEST)
    config.check(text, given.config_url or "answers", say, k3s_version=version)
    if os.path.exists(LOCAL_CONFIG):
        os.replace(LOCAL_CONFIG, f"{LOCAL_CONFIG}.old")
    os.makedirs(os.path.dirname(LOCAL_CONFIG), exist_ok=True)
    atomic_write(LOCAL_CONFIG, text, mode=0o600, sync=True)
    code = apply(RUNTIME, ("/", OWN_SYSTEM, None))
    run(["systemctl", "--no-block", "restart", "k3s.service"])
    say(f"configured by {LOCAL_CONFIG}, k3s restarts; a live system forgets this at its next boot")
    return code


def finish(power_off: bool, say: Say) -> int:
    from k3os.system.run import run

    if power_off:
        say("powering off")
    elif booted_from_network():
        say("rebooting; the firmware must boot the disk now, not the network again")
    else:
        say("rebooting; remove the installation medium")
    run(["systemctl", "--no-block", "poweroff" if power_off else "reboot"])
    return 0


def booted_from_network() -> bool:
    """Whether the medium is in the initrd's memory (k3os.boot.media): there is none to remove."""
    from k3os.system.mounts import mounted

    return any(where[:2] == ("rootfs", BASE) for where in mounted())
