"""The sources of a node, in order; a bad one never hides the good ones."""

from pathlib import Path

from k3os.config.load import load_config
from k3os.config.value import plain

PLACES = (
    "k3os/system/config.yaml",
    "var/lib/rancher/k3os/config.yaml",
    "var/lib/rancher/k3os/datasource/metadata.yaml",
    "var/lib/rancher/k3os/datasource/userdata/01.yaml",
    "var/lib/rancher/k3os/config.d/10-a.yaml",
    "var/lib/rancher/k3os/config.d/20-b.yaml",
)


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


ORDER = [
    "config-system",
    "cmdline",
    "config-k3os",
    "metadata-datasource",
    "01-userdata",
    "10-a-config.d",
    "20-b-config.d",
]


def put_all(root: Path) -> None:
    for name in PLACES:
        put(root, name, f"run_cmd: {Path(name).stem}-{Path(name).parent.name}\n")


def test_the_sources_come_in_the_documented_order(tmp_path: Path) -> None:
    put_all(tmp_path)
    cmdline = "run_cmd=cmdline k3os.data_sources=cdrom"
    config, problems = load_config(str(tmp_path), cmdline=cmdline, cloud=True)
    assert not problems
    assert config.texts("run_cmd") == ORDER


def test_cloud_data_is_for_the_runtime_phase_and_only_where_sources_are_named(
    tmp_path: Path,
) -> None:
    put_all(tmp_path)
    without = [name for name in ORDER if name not in ("metadata-datasource", "01-userdata")]
    for cmdline, cloud in (("k3os.data_sources=cdrom", False), ("", True)):
        config, _ = load_config(str(tmp_path), cmdline=f"run_cmd=cmdline {cmdline}", cloud=cloud)
        assert config.texts("run_cmd") == without


def test_an_unknown_data_source_is_left_out_and_the_nearest_name_said(tmp_path: Path) -> None:
    put(tmp_path, PLACES[0], "k3os:\n  data_sources: [cdrm, cdrom, something]\n")
    config, problems = load_config(str(tmp_path), cmdline="")
    assert config.texts("k3os.data_sources") == ["cdrom"]
    assert [str(problem.place) for problem in problems] == [
        "/k3os/system/config.yaml:2:18",
        "/k3os/system/config.yaml:2:31",
    ]
    assert problems[0].hint == "did you mean cdrom?"
    assert problems[1].hint.startswith("known: auto, ")


def test_a_bad_source_never_hides_the_good_ones(tmp_path: Path) -> None:
    put(tmp_path, PLACES[0], "hostname: [\n")
    put(tmp_path, PLACES[1], "ssh_authorized_keys: github:me\n")
    config, problems = load_config(str(tmp_path), cmdline="k3os.token=x")
    assert config.texts("ssh_authorized_keys") == ["github:me"]
    assert config.text("k3os.token") == "x"
    assert [str(problem.place) for problem in problems] == ["/k3os/system/config.yaml:2:1"]


def test_hidden_files_backups_and_directories_are_skipped_with_a_note(tmp_path: Path) -> None:
    base = "var/lib/rancher/k3os/config.d/"
    for name in (".hidden.yaml", "a.yaml~", "b.yaml.bak", "c/d.yaml", "good.yaml"):
        put(tmp_path, base + name, f"run_cmd: {name}\n")
    config, problems = load_config(str(tmp_path), cmdline="")
    assert config.texts("run_cmd") == ["good.yaml"]
    assert len(problems) == 4
    assert not any(problem.is_error for problem in problems)


def test_no_source_at_all_is_an_empty_configuration(tmp_path: Path) -> None:
    config, problems = load_config(str(tmp_path), cmdline="quiet")
    assert (config.values, problems) == ({}, [])


def test_another_system_directory_is_used_when_asked_for(tmp_path: Path) -> None:
    put(tmp_path, "run/medium/k3os/system/config.yaml", "hostname: from-medium\n")
    config, _ = load_config(str(tmp_path), "/run/medium/k3os/system", "")
    value = config.get("hostname")
    assert value is not None
    assert plain(value) == "from-medium"
    assert str(value.place) == "/k3os/system/config.yaml:1:11"  # as on the node
