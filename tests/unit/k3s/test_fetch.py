"""Fetching k3s from a local site with the layout of its releases."""

import os
import stat

import pytest

from k3os.errors import UserError
from k3os.k3s.fetch import fetch, fetch_airgap
from k3os.k3s.source import Auto, Download, LocalFile, Nothing, Release
from k3os.system.http_failure import ChecksumError, HttpError
from tests.unit.local_server import content, cut_off, moved, sha256, stalling, status

VERSION = "v9.8.7+k3s1"
RELEASE = Release(VERSION)


def executable(path, text="#!/bin/sh\n"):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o755)
    return path


def test_a_release_is_fetched_verified_and_executable(releases, tmp_path):
    component = fetch(RELEASE, "amd64", tmp_path)
    assert (component.version, component.sha256) == (VERSION, sha256(releases.body))
    assert component.path.read_bytes() == releases.body
    assert stat.S_IMODE(component.path.stat().st_mode) == 0o755


def test_a_verified_release_is_not_fetched_again(releases, tmp_path):
    first = fetch(RELEASE, "amd64", tmp_path)
    releases.site.pages.clear()
    releases.site.requests.clear()
    assert fetch(RELEASE, "amd64", tmp_path) == first
    assert releases.site.requests == []


def test_a_cached_release_that_was_damaged_is_fetched_again(releases, tmp_path):
    fetch(RELEASE, "amd64", tmp_path).path.write_bytes(b"#!/bin/sh\nrotten")
    assert fetch(RELEASE, "amd64", tmp_path).path.read_bytes() == releases.body


def test_a_release_redirects_to_where_its_files_are(releases, tmp_path):
    releases.site.page("/storage/k3s", content(releases.body))
    releases.publish(moved("/storage/k3s"))
    assert fetch(RELEASE, "amd64", tmp_path).sha256 == sha256(releases.body)


@pytest.mark.parametrize("source", [RELEASE, Auto()])
def test_a_file_that_does_not_match_the_sum_file_is_always_an_error(releases, tmp_path, source):
    releases.publish(content(b"#!/bin/sh\nsomebody else's\n"))
    with pytest.raises(ChecksumError, match="wrong checksum"):
        fetch(source, "amd64", tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("source", [RELEASE, Auto()])
def test_a_release_that_does_not_match_our_lock_is_always_an_error(
    releases, tmp_path, lock, source
):
    lock("b" * 64)
    with pytest.raises(ChecksumError, match=r"what is pinned is b+"):
        fetch(source, "amd64", tmp_path)
    assert releases.fetched() == ["sha256sum-amd64.txt"]


def test_a_release_that_matches_our_lock_is_taken(releases, tmp_path, lock):
    lock(sha256(releases.body))
    assert fetch(Auto(), "amd64", tmp_path).version == VERSION


def test_a_lock_that_is_filled_later_is_held_against_the_cache(releases, tmp_path, lock):
    fetch(RELEASE, "amd64", tmp_path)
    lock("b" * 64)
    with pytest.raises(ChecksumError):
        fetch(RELEASE, "amd64", tmp_path)


def test_a_sum_file_without_our_file_is_an_error(releases, tmp_path):
    releases.publish(sums=b"a" * 64 + b"  k3s-other\n")
    with pytest.raises(UserError, match="no entry for k3s"):
        fetch(RELEASE, "amd64", tmp_path)


def test_an_error_page_instead_of_a_sum_file_is_an_error(releases, tmp_path):
    releases.publish(sums=b"<html>Please log in</html>")
    with pytest.raises(UserError, match="is not a sha256sum file: '<html>"):
        fetch(Auto(), "amd64", tmp_path)


def test_a_version_that_does_not_exist_is_an_error_for_a_named_version(releases, tmp_path):
    with pytest.raises(HttpError) as caught:
        fetch(Release("v1.0.0+k3s1"), "amd64", tmp_path)
    assert caught.value.status == 404
    assert caught.value.where.endswith("/v1.0.0%2Bk3s1/sha256sum-amd64.txt")


@pytest.mark.parametrize("answer", [404, 403, 503])
def test_auto_out_of_reach_warns_loudly_and_goes_on(releases, tmp_path, answer):
    releases.site.pages.clear()
    releases.site.page("*", status(answer))
    warnings = []
    assert fetch(Auto(), "amd64", tmp_path, warn=warnings.append) is None
    assert "THE IMAGE WILL HAVE NO k3s" in warnings[0]
    assert str(answer) in warnings[0]


def test_auto_from_a_server_that_stalls_goes_on_without(releases, tmp_path):
    releases.publish(stalling(releases.body, 10))
    warnings = []
    assert fetch(Auto(), "amd64", tmp_path, warn=warnings.append, timeout=0.1) is None
    assert "stalls" in warnings[0]


def test_a_truncated_body_is_resumed(releases, tmp_path):
    releases.publish(cut_off(releases.body, 5000), content(releases.body))
    assert fetch(RELEASE, "amd64", tmp_path).sha256 == sha256(releases.body)
    assert releases.site.ranges()[-1] == "bytes=5000-"


def test_a_body_that_stays_truncated_is_an_error(releases, tmp_path):
    releases.publish(cut_off(releases.body, 5000), status(500))
    with pytest.raises(HttpError, match="answers 500"):
        fetch(RELEASE, "amd64", tmp_path)
    assert os.listdir(tmp_path) == [f"k3s-{VERSION}-amd64.part"]


def test_none_fetches_nothing(releases, tmp_path):
    assert fetch(Nothing(), "amd64", tmp_path) is None
    assert releases.site.requests == []


def test_an_unknown_architecture_is_an_error_even_for_none(tmp_path):
    with pytest.raises(UserError, match="no k3s for 'mips'"):
        fetch(Nothing(), "mips", tmp_path)


def test_a_local_file_says_its_version_and_stays_where_it_lies(tmp_path):
    path = executable(tmp_path / "x", "#!/bin/sh\necho k3s version v1.2.3+k3s4 '(stub)'\n")
    component = fetch(LocalFile(path), "amd64", tmp_path)
    assert (component.version, component.path) == ("v1.2.3+k3s4", path)


def test_a_local_file_that_says_nothing_has_the_version_of_its_name(tmp_path):
    path = executable(tmp_path / "k3s-v1.2.3+k3s4", "#!/no/such/interpreter\n")
    assert fetch(LocalFile(path), "amd64", tmp_path).version == "v1.2.3+k3s4"


def test_a_local_file_without_any_version_is_named_by_its_hash(tmp_path):
    path = executable(tmp_path / "x", "#!/bin/sh\nexit 1\n")
    digest = sha256(path.read_bytes())
    assert fetch(LocalFile(path), "amd64", tmp_path).version == f"custom-{digest[:12]}"


def elf(machine):
    return b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + machine.to_bytes(2, "little")


def test_a_local_file_for_another_architecture_is_an_error(tmp_path):
    path = executable(tmp_path / "x", elf(183))
    with pytest.raises(UserError, match="is for arm64, not for amd64"):
        fetch(LocalFile(path), "amd64", tmp_path)
    assert fetch(LocalFile(path), "arm64", tmp_path).version.startswith("custom-")


def test_what_is_no_executable_file_is_an_error(tmp_path):
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    wrong = {
        tmp_path / "missing": "No such file",
        tmp_path: "Is a directory",
        tmp_path / "plain": "is not executable; chmod",
        executable(tmp_path / "page", "<html>"): "is not a program",
    }
    for path, message in wrong.items():
        with pytest.raises(UserError, match=message):
            fetch(LocalFile(path), "amd64", tmp_path)


def test_an_executable_from_any_address(site, tmp_path):
    body = b"#!/bin/sh\necho k3s version v1.2.3+k3s4\n"
    url = site.page("/my/k3s", content(body))
    component = fetch(Download(url), "amd64", tmp_path)
    assert (component.version, component.sha256) == ("v1.2.3+k3s4", sha256(body))
    site.page("/my/k3s", content(body + b"# changed\n"))
    assert fetch(Download(url), "amd64", tmp_path).sha256 != component.sha256


def test_an_address_with_a_checksum_is_verified_and_fetched_once(site, tmp_path):
    body = b"#!/bin/sh\n"
    url = site.page("/my/k3s-v1.2.3%2Bk3s4", content(body))
    for _ in range(2):
        assert fetch(Download(url, sha256(body)), "amd64", tmp_path).version == "v1.2.3+k3s4"
    assert len(site.requests) == 1
    with pytest.raises(ChecksumError):
        fetch(Download(url, "0" * 64), "amd64", tmp_path)


def test_a_login_page_is_no_k3s(site, tmp_path):
    with pytest.raises(UserError, match="is not a program"):
        fetch(Download(site.page("/k3s", content(b"<html>"))), "amd64", tmp_path)


def test_airgap_archives_come_from_paths_and_addresses(site, tmp_path):
    mine = tmp_path / "mine.tar.zst"
    mine.write_bytes(b"images")
    url = site.page("/more.tar", content(b"more"))
    warnings = []
    (tmp_path / "cache").mkdir()
    paths = fetch_airgap([str(mine), url], tmp_path / "cache", warn=warnings.append)
    assert [path.name for path in paths] == ["mine.tar.zst", "more.tar"]
    assert paths[1].read_bytes() == b"more"
    assert "comes without a checksum" in warnings[0]


def test_an_airgap_archive_of_a_release_must_match_its_sum_file(site, tmp_path):
    url = site.page("/r/k3s-airgap-images-amd64.tar.gz", content(b"images"))
    line = f"{sha256(b'images')}  k3s-airgap-images-amd64.tar.gz\n"
    site.page("/r/sha256sum-amd64.txt", content(line.encode()))
    warnings = []
    for _ in range(2):
        fetch_airgap([url], tmp_path, warn=warnings.append)
    assert warnings == []
    assert sum(path.endswith(".gz") for path, _ in site.requests) == 1
    site.page("/r/sha256sum-amd64.txt", content(line.replace(line[:4], "0000").encode()))
    with pytest.raises(ChecksumError):
        fetch_airgap([url], tmp_path)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["/no/such.tar"], "does not exist"),
        (["/etc/passwd"], "is not an image archive"),
        (["/dir.tar", "http://x/dir.tar"], "two archives are called dir.tar"),
        (["http://x/a.tar#sha256=zz"], "is not a checksum"),
    ],
)
def test_airgap_mistakes_are_named(tmp_path, items, message):
    (tmp_path / "dir.tar").touch()
    items = [
        item.replace("/dir.tar", f"{tmp_path}/dir.tar", 1) if item[0] == "/" else item
        for item in items
    ]
    with pytest.raises(UserError, match=message):
        fetch_airgap(items, tmp_path)


PINNED_BY = ("lock", "configuration", "address")


def trust_of(text):
    from k3os.config.check import check_text
    from k3os.config.load import Config
    from k3os.k3s.trust import of_config

    values, problems = check_text(text.encode(), "config.yaml")
    assert problems == []
    return of_config(Config(values))


@pytest.mark.parametrize("source", [RELEASE, Auto()])
def test_a_release_over_plain_http_is_refused_before_anything_is_asked(mirror, tmp_path, source):
    with pytest.raises(UserError, match="proves nothing") as caught:
        fetch(source, "amd64", tmp_path)
    assert "k3os.k3s_sums" in caught.value.hint
    assert mirror.site.requests == []


@pytest.mark.parametrize("by", PINNED_BY)
def test_a_pinned_release_over_plain_http_is_taken(mirror, tmp_path, lock, by):
    digest = sha256(mirror.body)
    trust = trust_of("{}")
    source = RELEASE
    if by == "lock":
        lock(digest)
    elif by == "address":
        source = Release(VERSION, digest)
    else:
        trust = trust_of(f"k3os: {{k3s_sums: {{{VERSION}: '{'b' * 64} {digest.upper()}'}}}}")
    assert fetch(source, "amd64", tmp_path, trust=trust).sha256 == digest


@pytest.mark.parametrize("by", PINNED_BY)
def test_a_release_that_is_not_the_pinned_one_is_never_taken(releases, tmp_path, lock, by):
    trust = trust_of("k3os: {k3s_insecure_http: true}")
    source = RELEASE
    if by == "lock":
        lock("b" * 64)
    elif by == "address":
        source = Release(VERSION, "b" * 64)
    else:
        trust = trust_of(f"k3os: {{k3s_sums: {{{VERSION}: {'b' * 64}}}}}")
    with pytest.raises(ChecksumError, match=r"what is pinned is b+"):
        fetch(source, "amd64", tmp_path, trust=trust)
    assert os.listdir(tmp_path) == []


def test_the_pin_of_another_version_is_none_of_this_one(mirror, tmp_path, lock):
    lock(sha256(mirror.body), "v9.9.9+k3s1")
    with pytest.raises(UserError, match="proves nothing"):
        fetch(RELEASE, "amd64", tmp_path)


def test_an_option_whose_name_says_so_takes_a_release_over_plain_http(mirror, tmp_path):
    trust = trust_of("k3os: {k3s_insecure_http: true}")
    assert fetch(RELEASE, "amd64", tmp_path, trust=trust).sha256 == sha256(mirror.body)


def test_an_executable_over_plain_http_needs_a_checksum(plain_site, tmp_path):
    body = b"#!/bin/sh\necho k3s version v1.2.3+k3s4\n"
    url = plain_site.page("/k3s", content(body))
    with pytest.raises(UserError, match="proves nothing"):
        fetch(Download(url), "amd64", tmp_path)
    assert plain_site.requests == []
    assert fetch(Download(url, sha256(body)), "amd64", tmp_path).sha256 == sha256(body)


def test_an_airgap_archive_over_plain_http_needs_a_checksum(plain_site, tmp_path):
    name = "k3s-airgap-images-amd64.tar"
    url = plain_site.page(f"/r/{name}", content(b"images"))
    plain_site.page("/r/sha256sum-amd64.txt", content(f"{sha256(b'images')}  {name}\n".encode()))
    other = plain_site.page("/more.tar", content(b"images"))
    for each in (url, other):
        with pytest.raises(UserError, match="proves nothing"):
            fetch_airgap([each], tmp_path)
    assert plain_site.requests == []
    assert fetch_airgap([f"{url}#sha256={sha256(b'images')}"], tmp_path)[0].exists()
