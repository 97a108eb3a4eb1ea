"""A gallery of identities on a device: enrol, identify, remove, cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facedistill.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from facedistill.runtime.gallery.clustering import cluster_faces
    from facedistill.runtime.gallery.gallery import Gallery
    from facedistill.runtime.gallery.template_search import TemplateSearch

__all__ = ["Gallery", "TemplateSearch", "cluster_faces"]

__getattr__ = lazy_names(
    __name__,
    {
        "Gallery": "gallery",
        "TemplateSearch": "template_search",
        "cluster_faces": "clustering",
    },
)
