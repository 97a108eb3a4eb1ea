"""A symmetric head, and the geometry of any head."""

from hypothesis import strategies as st

from facedistill.faces.synthetic.head_geometry import Features, skin_radius, surface_points
from facedistill.faces.synthetic.head_sight import Camera
from facedistill.faces.synthetic.traits import Identity

SYMMETRIC = Identity()  # the middle of every asymmetry is none
seeds = st.integers(0, 2**31)


def geometry(identity, nuisance, size=112):
    """Return the features, the radius of the skin, the landmarks' points and the camera."""
    features = Features.of(identity, nuisance)
    skin = skin_radius(identity, nuisance, features)
    points = surface_points(skin, features.landmarks)
    return features, skin, points, Camera.aligned(nuisance, points, size)
