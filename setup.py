"""Puts the configs, which lie beside the package, inside of it in a wheel; all else is in setup.cfg."""

import os
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):

  def run(self):
    super().run()
    if not self.editable_mode:
      target = os.path.join(self.build_lib, "vidx", "configs")
      shutil.rmtree(target, ignore_errors=True)
      shutil.copytree("configs", target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))


setup(cmdclass={"build_py": BuildWithConfigs})
