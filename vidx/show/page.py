"""Pages: a template of this room filled in, as one file."""

from typing import Any

from vidx import writing
from vidx.terminal import counted


def write(path: str, template: str, **values: Any) -> None:
  """Writes an HTML page in one piece, its folder with it where there is none.

  Args:
    path: of the page.
    template: file name of one in vidx/show.
    **values: what the template names.
  """
  import jinja2
  environment = jinja2.Environment(loader=jinja2.PackageLoader("vidx", "show"), autoescape=True, trim_blocks=True,
                                   lstrip_blocks=True)
  environment.globals.update(figure=writing.figure, counted=counted)
  writing.write_text(path, environment.get_template(template).render(**values))
