from facedistill.data.formats.procedural import ProceduralDataset
from facedistill.data.loading.loader import Cached
from facedistill.data.views.resized import Resized


def test_views_keep_the_keys_of_drawn_faces():
    faces = ProceduralDataset(2, 2, size=16)
    expected = [faces.key(i) for i in range(4)]
    for view in (Resized(faces, 24), Cached(faces), Cached(Resized(faces, 24))):
        assert [view.key(i) for i in range(4)] == expected
        assert [view[i].key for i in range(4)] == expected
        assert view.fingerprint == faces.fingerprint
