"""The directive ``{gallery}``: the pictures of pages, each a link to its page.

    ```{gallery} plots laminar-csd
    ```

The pictures are those of the current build, so none can be out of date; their alternative texts are those of the pages.
"""

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


class gallery(nodes.General, nodes.Element):
    """Placeholder for the pictures until every page has been read."""


class Gallery(SphinxDirective):
    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        return [gallery(pages=self.arguments[0].split())]


def fill(app, doctree, docname):
    """Replace each placeholder by the pictures of its pages."""
    for place in list(doctree.findall(gallery)):
        frame = nodes.container(classes=["gallery"])
        for page in place["pages"]:
            images = [n for n in app.env.get_doctree(page).findall(nodes.image) if "alt" in n]
            if not images:
                raise ValueError(f"gallery: the page {page!r} has no picture with a text")
            for image in images:
                target = app.builder.get_relative_uri(docname, page)
                link = nodes.reference("", "", image.deepcopy(), refuri=target, internal=True)
                frame += link
        place.replace_self(frame)


def setup(app):
    app.add_node(gallery)
    app.add_directive("gallery", Gallery)
    app.connect("doctree-resolved", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
