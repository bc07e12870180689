"""Only cythonizes, and compiles the Python beside it: everything else stands in pyproject.toml.

MEDIATION_CHECKED=1 turns bounds, wraparound and None checks on (same tests, slower code);
MEDIATION_SANITIZE=1 builds with the address and undefined-behaviour sanitizers.
"""

import compileall
import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

# ext/NAME.pyx becomes this module. ext/ is flat so that a kernel is found by its name alone.
MODULES = {
    "sip": "mediation.core._sip",
    "pdu": "mediation.core._pdu",
    "signatures": "mediation.core._signatures",
    "matcher": "mediation.access._matcher",
    "calls": "mediation.access._calls",
    "walker": "mediation.access._walker",
    "hep": "mediation.access._hep",
    "linux": "mediation.access._linux",
    "dtmf": "mediation.access._dtmf",
    "ber": "mediation.core._ber",
    "content": "mediation.delivery._content",
}
LIBRARIES = {"linux": ["bpf"]}

checked = os.environ.get("MEDIATION_CHECKED") == "1"
sanitize = os.environ.get("MEDIATION_SANITIZE") == "1"
# No name of the folder that it was built in (SEC-25); __DATE__ and __TIME__ of a library's header would be an error.
same = [f"-ffile-prefix-map={os.getcwd()}=.", "-Wdate-time", "-Werror=date-time"]
flags = ["-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-O1"] if sanitize else ["-O3", "-g0"]

kernels = sorted(str(p) for p in Path("ext").glob("*.pxd")) + sorted(str(p) for p in Path("ext").glob("*.h"))
extensions = [
    Extension(
        module,
        [f"ext/{name}.pyx"],
        include_dirs=["ext"],
        libraries=LIBRARIES.get(name, []),
        depends=kernels,
        extra_compile_args=[*flags, *same, "-Wno-unused-function"],
        extra_link_args=["-fsanitize=address,undefined"] if sanitize else [],
    )
    for name, module in MODULES.items()
    if Path(f"ext/{name}.pyx").exists()
]
setup(
    ext_modules=cythonize(
        extensions,
        include_path=["ext"],
        build_dir="build/cython",
        nthreads=os.cpu_count() or 1,
        compiler_directives={
            "language_level": 3,
            "boundscheck": checked,
            "wraparound": checked,
            "initializedcheck": checked,
            "cdivision": not checked,
            "nonecheck": checked,
        },
    ),
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
)
if "--inplace" in sys.argv:
    # A checkout that may not be written to, or PYTHONDONTWRITEBYTECODE, would have each process compile each module.
    compileall.compile_dir("mediation", quiet=1)
