from setuptools import setup

import build_backend

setup(ext_modules=[build_backend.LIBRARY], cmdclass=build_backend.COMMANDS)
