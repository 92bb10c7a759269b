"""Modes of the boot, the rescue shell, and a machine without a boot medium."""

from tests.vm.node import BOOT, LOGIN, RESCUE, ask


def test_rescue_and_the_shell_mode_open_a_shell_that_explains_itself_and_go_on(boot, images):
    """The rescue shell comes before anything is mounted, the mode shell before systemd."""
    with boot("rescue", images.direct("rescue k3os.mode=shell")) as vm:
        vm.expect("k3OS: .*rescue", BOOT)
        vm.expect(RESCUE, 30)
        assert ask(vm, "cat /proc/1/comm") == "init"
        assert "vda" in ask(vm, "cat /proc/partitions")
        vm.console.skip()
        vm.send("exit\n")
        vm.expect("systemd is not running", BOOT)
        vm.expect(r"[#$] $", 30)
        assert ask(vm, "cat /proc/1/comm") == "init"
        assert ask(vm, "findmnt -no FSTYPE --target /usr/bin") == "squashfs"
        vm.console.skip()
        vm.send("exit\n")
        vm.expect(LOGIN, BOOT)
        vm.wait_for_shell(30)
        assert ask(vm, "cat /proc/1/comm") == "systemd"


def test_a_missing_medium_is_waited_for_with_a_countdown_then_explained(boot, images):
    with boot("no-medium", images.direct("k3os.media_timeout=8", medium=False)) as vm:
        vm.expect(r"k3OS: waiting \d+ s more for .*K3OS_STATE.*K3OS", BOOT)
        vm.expect(r"no k3OS boot medium was found in 8 s", 30)
        vm.expect(RESCUE, 30)


def test_a_boot_that_fails_in_the_new_root_reboots_when_the_shell_is_left(boot, images):
    # the initrd's memory is freed by then, so the early boot cannot be started again
    command = 'boot_cmd="mount -t tmpfs none /usr/lib/systemd"'
    with boot("no-systemd", images.direct(command)) as vm:
        vm.expect("the boot stopped: /usr/lib/systemd/systemd is missing", BOOT)
        vm.expect("reboots the machine", 30)
        vm.expect(RESCUE, 30)
        assert ask(vm, "ls -d /init || true") != "/init"
        vm.console.skip()
        vm.send("exit\n")
        vm.expect("k3OS: version .* early boot", BOOT)
