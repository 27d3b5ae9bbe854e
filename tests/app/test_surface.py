import numpy as np
import pytest

from rho2prop.app.surface import isosurface
from rho2prop.app.view import make_view

TRICLINIC_ANG = np.array([[9.0, 0.0, 0.0], [2.5, 8.5, 0.0], [-1.5, 2.0, 9.5]])
LEFT_HANDED_ANG = TRICLINIC_ANG[[1, 0, 2]]


def ball(lattice, shape=(44, 40, 36), centre=(0.5, 0.5, 0.5)):
    """Minus the distance to a point in the cell, in Å."""
    fractions = np.stack(np.meshgrid(*[np.arange(n) / n for n in shape], indexing="ij"), axis=-1)
    return -np.linalg.norm((fractions - centre) @ lattice, axis=-1)


@pytest.mark.parametrize("lattice", [TRICLINIC_ANG, LEFT_HANDED_ANG])
def test_a_ball_in_a_slanted_cell_is_round_closed_and_faces_outwards(lattice):
    radius_ang = 3.0
    vertices, triangles = isosurface(ball(lattice), lattice, -radius_ang)
    corners = vertices[triangles].astype(float) - np.full(3, 0.5) @ lattice
    assert np.linalg.norm(corners, axis=2) == pytest.approx(radius_ang, abs=0.02)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert np.linalg.norm(normals, axis=1).sum() / 2 == pytest.approx(4 * np.pi * radius_ang**2, rel=0.01)
    volume = np.einsum("ti,ti->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    assert abs(volume) == pytest.approx(4 / 3 * np.pi * radius_ang**3, rel=0.01)
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    assert set(np.unique(edges, axis=0, return_counts=True)[1]) == {2}  # no hole
    outwards = np.einsum("ti,ti->t", normals, corners.mean(axis=1)) > 0
    assert outwards.all()


def test_the_surface_reaches_all_faces_of_a_periodic_cell():
    x = np.arange(16) / 16
    values = np.broadcast_to(np.cos(2 * np.pi * x)[:, None, None], (16, 8, 8))
    vertices, _ = isosurface(values, np.eye(3) * 4.0, 0.0)
    assert set(vertices[:, 0].round(3)) == {1.0, 3.0}  # the planes where the cosine is zero
    np.testing.assert_allclose(vertices[:, 1:].min(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(vertices[:, 1:].max(axis=0), 4.0, atol=1e-6)


def test_a_level_that_is_not_reached_has_no_surface():
    vertices, triangles = isosurface(np.ones((4, 4, 4)), np.eye(3), 2.0)
    assert vertices.shape == triangles.shape == (0, 3)


def test_the_level_of_a_share_encloses_that_share_of_the_electrons(density):
    view = make_view(density)
    for share in (0.1, 0.6, 0.95):
        inside = view.values >= view.level_enclosing(share)
        assert view.values[inside].sum() / view.values.sum() == pytest.approx(share, abs=0.002)


def test_a_large_grid_is_drawn_with_few_points_and_the_same_mean(density):
    from dataclasses import replace

    from rho2prop.densities.fourier import resample

    fine = replace(density, values=resample(density.values, (72, 60, 75)))
    view = make_view(fine)
    assert view.values.size <= 40**3
    assert view.native_shape == (72, 60, 75)
    assert view.values.mean() == pytest.approx(fine.values.mean(), rel=2e-3)
    assert view.values[0, 0, 0] == pytest.approx(fine.values[0, 0, 0], rel=1e-5)
