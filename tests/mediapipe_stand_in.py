"""A substitute for MediaPipe in the tools of ../shared, which run so on every Python.

The landmarks come from `FaceFinder`; tests/face/test_face_models.py compares them with MediaPipe's.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

from liveportrait_talker.face.finder import FaceFinder
from liveportrait_talker.face.mesh import LEFT_EYE, LIPS, RIGHT_EYE

_BROWS = {
    "FACEMESH_RIGHT_EYEBROW": (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    "FACEMESH_LEFT_EYEBROW": (336, 296, 334, 293, 300, 285, 295, 282, 283, 276),
}


class FaceMesh:
    """Substitute for `mediapipe.solutions.face_mesh.FaceMesh`, for one face."""

    def __init__(self, *, static_image_mode=False, max_num_faces=1, **_):
        assert max_num_faces == 1
        self._static, self._finder, self._last = static_image_mode, FaceFinder(), None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def process(self, rgb):
        face = None if self._static or self._last is None else self._finder.follow(rgb, self._last)
        if face is None:
            face = next(iter(self._finder.find(rgb)), None)
        self._last = face
        if face is None:
            return SimpleNamespace(multi_face_landmarks=None)
        height, width = rgb.shape[:2]
        points = [SimpleNamespace(x=x / width, y=y / height, z=z / width) for x, y, z in face.tolist()]
        return SimpleNamespace(multi_face_landmarks=[SimpleNamespace(landmark=points)])


def install():
    """Make `import mediapipe` find this module."""

    def module(name, **members):
        new = ModuleType(name)
        vars(new).update(members)
        sys.modules[name] = new
        return new

    def ring(indices):
        return frozenset((i, i) for i in indices)

    connections = module(
        "mediapipe.python.solutions.face_mesh_connections",
        FACEMESH_LIPS=ring(LIPS.landmarks[:40]),
        FACEMESH_RIGHT_EYE=ring(RIGHT_EYE.landmarks[:16]),
        FACEMESH_LEFT_EYE=ring(LEFT_EYE.landmarks[:16]),
        **{name: ring(indices) for name, indices in _BROWS.items()},
    )
    face_mesh = module("mediapipe.solutions.face_mesh", FaceMesh=FaceMesh)
    solutions = module("mediapipe.solutions", face_mesh=face_mesh)
    module("mediapipe.python", solutions=module("mediapipe.python.solutions", face_mesh_connections=connections))
    module("mediapipe", solutions=solutions)
