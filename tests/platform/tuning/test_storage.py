"""Storage on disks and in object stores, and nodes that cannot see it."""

from pathlib import Path

import pytest
import ray
from pyarrow import fs

from stridelab.tuning import storage
from stridelab.tuning.storage import StorageFolder, check_nodes_see, open_storage
from stridelab_envs.errors import UserError


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("form", ["{}", "file://{}", "local://{}"])
def test_a_folder_is_the_same_by_every_address(elsewhere, form):
    folder = open_storage(form.format(elsewhere)).child("studies", "walk@2")
    assert folder.name == "walk@2"
    assert not folder.exists()
    folder.write_text("a.json", "ä 1")
    folder.write_text("a.json", "ä 2")
    assert Path(elsewhere, "studies", "walk@2", "a.json").read_text(encoding="utf-8") == "ä 2"
    assert [path.name for path in Path(folder.path).iterdir()] == ["a.json"]
    assert folder.exists()
    assert folder.exists("a.json")
    assert folder.read_text("a.json") == "ä 2"
    folder.delete("a.json")
    assert not folder.exists("a.json")


def test_a_relative_path_is_resolved_once(elsewhere):
    folder = open_storage("runs")
    assert folder.address == str(elsewhere / "runs")
    assert folder.local == elsewhere / "runs"
    assert folder.ray_filesystem is None
    assert folder.ray_path == folder.address


def test_an_object_store_has_no_local_folder():
    """fsspec's storage in memory stands for one."""
    folder = open_storage("memory://bucket/runs").child("studies")
    assert folder.local is None
    assert isinstance(folder.ray_filesystem, fs.PyFileSystem)
    assert folder.ray_path == folder.path == "/bucket/runs/studies"
    folder.write_text("a.json", "{}")
    assert folder.read_text("a.json") == "{}"


def test_arguments_of_an_address_stay_at_its_end():
    folder = StorageFolder("s3://bucket/runs?region=eu", "bucket/runs", fs.LocalFileSystem())
    assert folder.child("studies", "walk").address == "s3://bucket/runs/studies/walk?region=eu"


@pytest.mark.parametrize("address", ["nope://bucket/runs", "github://x"])
def test_unknown_kinds_are_one_line(address):
    with pytest.raises(UserError, match=rf'resources.storage_path "{address}": ') as error:
        open_storage(address)
    assert "\n" not in str(error.value)


@pytest.mark.ray
class TestNodes:
    @pytest.fixture
    def visits(self, local_ray, monkeypatch):
        """Nodes that were asked."""
        asked = []
        look = storage._look

        def noted(folder, marker, node):
            asked.append(node["NodeManagerAddress"])
            return look(folder, marker, node)

        monkeypatch.setattr(storage, "_look", noted)
        return asked

    def test_one_node_and_a_disk_need_no_question(self, visits, tmp_path):
        check_nodes_see(open_storage(str(tmp_path)))
        assert visits == []

    def test_what_only_the_driver_sees_is_refused(self, visits):
        """Memory is not shared between processes, as a disk is not between machines."""
        with pytest.raises(UserError, match="not visible on node") as error:
            check_nodes_see(open_storage("memory://nodes/runs"))
        assert str(error.value).startswith("memory://nodes/runs: ")
        assert ray.util.get_node_ip_address() in str(error.value)
        assert "\n" not in str(error.value)
        assert not open_storage("memory://nodes/runs").filesystem.get_file_info(
            fs.FileSelector("/nodes/runs", allow_not_found=True)
        )

    def test_several_nodes_are_all_asked(self, visits, tmp_path, monkeypatch):
        [node] = ray.nodes()
        other = {**node, "NodeManagerAddress": "10.0.0.7"}
        monkeypatch.setattr(ray, "nodes", lambda: [node, other, {**node, "Alive": False}])
        check_nodes_see(open_storage(str(tmp_path)))
        assert visits == [node["NodeManagerAddress"], "10.0.0.7"]
        assert list(tmp_path.iterdir()) == []
