import numpy as np
import pytest

from tsfmicro_lab.data import mesh as module
from tsfmicro_lab.data.mesh import head_mesh, places_of


def test_the_mesh_is_whole():
    mesh = head_mesh()
    count = len(mesh.vertices)
    assert len(mesh.units) == 52
    assert all(delta.shape == (count, 3) for delta in [*mesh.units.values(), *mesh.modes.values()])
    assert all(mask.shape == (count,) and 0 <= mask.min() <= mask.max() <= 1 for mask in mesh.masks.values())
    assert mesh.triangles.min() >= 0
    assert mesh.triangles.max() < count
    corners, weights = mesh.places
    assert corners.shape == weights.shape == (478, 3)
    assert np.allclose(weights.sum(1), 1, atol=1e-3)


def test_left_and_right_face_units_are_mirror_images():
    """Every vertex has a partner on the other side, which the partner's unit moves the other way around."""
    mesh = head_mesh()
    skin = slice(0, min(eye.start for eye in mesh.eyes.values()))
    at = mesh.vertices[skin]
    partner = np.linalg.norm(at[:, None] * (-1, 1, 1) - at[None], axis=-1).argmin(1)
    for name in ("mouthSmile", "browDown", "eyeBlink", "noseSneer"):
        left, right = (mesh.units[name + side][skin] for side in ("Left", "Right"))
        error = np.abs(right[partner] * (-1, 1, 1) - left).max(1)
        assert np.quantile(error, 0.99) < 0.05 * np.abs(left).max()


def test_landmarks_follow_the_vertices():
    mesh = head_mesh()
    places = places_of(mesh.vertices)
    assert np.allclose(places_of(mesh.vertices + np.float32([1, 2, 3])), places + np.array([1, 2, 3]), atol=1e-3)
    smiling = places_of(mesh.vertices + mesh.units["mouthSmileLeft"]) - places
    left, right = 291, 61  # corners of the mouth in MediaPipe's numbering
    assert np.linalg.norm(smiling[left]) > 5 > 0.5 > np.linalg.norm(smiling[right])


@pytest.fixture
def damage(tmp_path):
    """Writes the mesh's file with something wrong with it."""

    def write(how):
        path, whole = tmp_path / "heads.npz", module._FILE.read_bytes()
        if isinstance(how, bytes):
            path.write_bytes(how)
        elif isinstance(how, int):
            path.write_bytes(whole[:how])
        else:
            with np.load(module._FILE) as file:
                arrays = {name: file[name] for name in file.files}
            how(arrays)
            np.savez(path, **arrays)
        return path

    return write


class Trap:
    """What would write a file, were it unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def set_to(name, change):
    return lambda arrays: arrays.update({name: change(arrays[name])})


@pytest.mark.parametrize(
    "how",
    [
        b"",
        b"not a zip at all",
        1000,
        200_000,
        lambda arrays: arrays.pop("units"),
        lambda arrays: arrays.pop("vertices"),
        set_to("vertices", lambda a: a[:-5]),
        set_to("units_names", lambda a: a[:-1]),
        set_to("modes", lambda a: a[:, :1]),
        set_to("place_weights", lambda a: a[:400]),
        set_to("triangles", lambda a: a + 5000),
        set_to("masks", lambda a: a[:, :-5]),
        set_to("open_sky", lambda a: a[:-5]),
        set_to("vertices", lambda a: a * np.float32("nan")),
        set_to("vertices", lambda a: a.astype(str)),
        set_to("triangles", lambda a: a[:, :2]),
        set_to("place_vertices", lambda a: a + 60_000),
    ],
)
def test_a_damaged_file_is_one_sentence(damage, how):
    path = damage(how)
    with pytest.raises(
        ValueError, match=r"heads\.npz is damaged \(.*\): install the package again, or rebuild the file"
    ):
        head_mesh(path)


def test_a_file_executes_nothing(damage, tmp_path):
    trap = np.array([Trap(str(tmp_path / "executed"))], dtype=object)
    path = damage(lambda arrays: arrays.update(vertices=trap))
    with pytest.raises(ValueError, match="damaged"):
        head_mesh(path)
    assert not (tmp_path / "executed").exists()
