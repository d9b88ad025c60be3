"""Pages: a template of this room filled in, as one file."""

import os
from typing import Any


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
  write_bytes(path, environment.get_template(template).render(**values).encode())


def write_bytes(path: str, content: bytes) -> None:
  """Writes a file in one piece, its folder with it where there is none."""
  os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
  temporary = f"{path}.tmp"
  with open(temporary, "wb") as f:
    f.write(content)
  os.replace(temporary, path)
