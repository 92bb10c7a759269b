"""What a build refuses, and its messages."""

from pathlib import Path

import pytest

from k3os.errors import UserError
from k3os.image.settings import from_environment


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ARCH", "mips", "ARCH: unknown architecture 'mips'; use one of: amd64"),
        ("KERNEL", "tiny", "KERNEL: unknown kernel 'tiny'; use one of: generic, backports, cloud"),
        ("FIRMWARE", "a;b", "FIRMWARE: 'a;b' is not a package name; an example: firmware-"),
        ("SOURCE_DATE_EPOCH", "now", "SOURCE_DATE_EPOCH: 'now' is not a number"),
        ("SOURCE_DATE_EPOCH", "-5", "SOURCE_DATE_EPOCH: '-5' is not a number"),
        ("OPERATOR", "yes", "OPERATOR: unknown value 'yes'; use one of: auto, none"),
        ("CONFIG", "/nonexistent.yaml", "CONFIG: /nonexistent.yaml is not a file"),
    ],
)
def test_a_wrong_setting_names_the_variable(variable: str, value: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        from_environment({variable: value})
    assert str(caught.value).startswith(message)


def test_an_empty_variable_counts_as_not_set() -> None:
    settings = from_environment({"ARCH": "", "KERNEL": "", "K3S": "", "SOURCE_DATE_EPOCH": ""})
    assert (settings.arch.name, settings.k3s) == ("amd64", "auto")
    assert (settings.kernel_package, settings.firmware) == ("linux-image-amd64", ())
    assert settings.epoch > 0


def test_the_operator_is_in_the_image_unless_it_is_asked_for_without() -> None:
    assert from_environment({"OPERATOR": ""}).operator
    assert from_environment({"OPERATOR": "auto"}).operator
    assert not from_environment({"OPERATOR": "none"}).operator


def test_paths_are_absolute_and_lists_are_split(tmp_path: Path) -> None:
    settings = from_environment(
        {
            "ARTIFACTS": "out",
            "CACHE": str(tmp_path),
            "K3S_AIRGAP": "a.tar  b.tar",
            "KERNEL": "cloud",
        }
    )
    assert settings.artifacts.is_absolute()
    assert settings.k3s_airgap == ("a.tar", "b.tar")
    assert settings.kernel_package == "linux-image-cloud-amd64"


def test_arm64_gets_the_newer_kernel_unless_another_is_named() -> None:
    newer = from_environment({"ARCH": "arm64"})
    assert newer.kernel_package == "linux-image-arm64/trixie-backports"
    stable = from_environment({"ARCH": "arm64", "KERNEL": "generic"})
    assert stable.kernel_package == "linux-image-arm64"


def test_firmware_is_refused_for_a_kernel_without_drivers() -> None:
    assert from_environment({"FIRMWARE": " a-b  cd"}).firmware == ("a-b", "cd")
    with pytest.raises(UserError, match="leave out FIRMWARE, or KERNEL=cloud"):
        from_environment({"FIRMWARE": "firmware-iwlwifi", "KERNEL": "cloud"})
