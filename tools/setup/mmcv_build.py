"""MMCV with its compiled ops: a given wheel, one that was compiled before, or one that is compiled here.

MMCV's own build compiles 77 small C++ files, and each spends nearly all of its time in torch's headers. For a CPU this
module joins them into four, with the same optimisation and without debug information, which takes a fourteenth of the
CPU time. A build for a GPU, and one whose joined files do not compile, goes file by file as MMCV does it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.setup import estimate
from tools.setup.environment import Environment, InstallError, last_line, say

OPS = Path('mmcv/ops/csrc/pytorch')
UNITS = 4
"""The sources that define the same names, and cannot be joined, are at most this many."""
CXX20_SINCE = (2, 14)
"""The first torch whose headers need C++20; MMCV 2.1.0 asks for C++17."""
WORKS = 'import mmcv.ops'
WITHOUT_GPU = """
import torch
gpu = torch.cuda.is_available() or torch.version.hip or torch.backends.mps.is_available()
raise SystemExit(bool(gpu or hasattr(torch, 'is_mlu_available')))
"""
OTHER_DEVICES = ('FORCE_CUDA', 'FORCE_MLU', 'FORCE_NPU', 'FORCE_MPS', 'MMCV_WITH_DIOPI')
"""Variables by which MMCV's setup.py compiles for more than a CPU."""
COMPILER = (
    'CC',
    'CXX',
    'CFLAGS',
    'CXXFLAGS',
    'CPPFLAGS',
    'LDFLAGS',
    'MMCV_CUDA_ARGS',
    'TORCH_CUDA_ARCH_LIST',
    *OTHER_DEVICES,
)
"""Variables that change what is compiled."""
DEFINITION = re.compile(r'^(?:struct|class)\s+(\w+)|^(?:[\w:<>,&*]+\s+)+[*&]?(\w+)\s*\([^;{}]*\)\s*\{', re.MULTILINE)
MACRO = re.compile(r'^#\s*define\s+(\w+)', re.MULTILINE)
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*', re.DOTALL)


def install_mmcv(env: Environment, requirement: str) -> None:
    """Install MMCV with ops that import beside the installed torch.

    Args:
        env: Holds torch, setuptools, wheel and ninja.
        requirement: MMCV's distribution and version.

    Raises:
        InstallError: If there is no compiler, or no wheel works.
    """
    if env.run(WORKS).returncode == 0:
        return
    given = os.environ.get('KD_MMCV_WHEEL')
    if given:
        say(f'installing MMCV from {given}')
        if not install_wheel(env, given):
            raise InstallError(f'KD_MMCV_WHEEL={given} could not be installed: {last_line(env.tail())}')
        answer = env.run(WORKS)
        if answer.returncode:
            raise InstallError(f'KD_MMCV_WHEEL={given} does not fit the installed torch: {last_line(answer.stderr)}')
        return
    label = build_label(env, requirement)
    work, kept = env.path / f'.kd_plugins-{label}', kept_wheels() / label
    for wheel in wheels(env, requirement, kept, work):
        if install_wheel(env, str(wheel)) and env.run(WORKS).returncode == 0:
            keep(wheel, kept)
            shutil.rmtree(work, ignore_errors=True)
            return
    raise InstallError(f'{requirement} was compiled, but `{WORKS}` fails: {last_line(env.run(WORKS).stderr)}')


def install_wheel(env: Environment, wheel: str) -> bool:
    """Install one wheel in place of what is there, and what it needs."""
    return env.pip('install', '--force-reinstall', '--no-deps', wheel) and env.pip('install', wheel)


def kept_wheels() -> Path:
    """Return the folder of compiled wheels among pip's own, so that ``pip cache`` lists and removes them."""
    cache = os.environ.get('PIP_CACHE_DIR') or os.path.join(os.environ.get('XDG_CACHE_HOME') or '~/.cache', 'pip')
    return Path(cache).expanduser() / 'wheels' / 'kd_plugins'


def build_label(env: Environment, requirement: str) -> str:
    """Return a name for what is compiled: it changes with MMCV, torch, Python, the compiler's variables and the GPU."""
    settings = [f'{name}={os.environ[name]}' for name in COMPILER if name in os.environ]
    settings += [sysconfig.get_platform(), str(env.run(WITHOUT_GPU).returncode)]
    digest = hashlib.sha256('\n'.join(settings).encode()).hexdigest()[:8]
    python = env.run('import sys; print(sys.implementation.cache_tag)').stdout.strip()
    return f'{requirement.replace("==", "-")}-torch-{env.versions()["torch"]}-{python}-{digest}'


def mmcv_wait(requirement: str, cores: int, slowness: float) -> tuple[str, float]:
    """Return what MMCV has to wait for in a new environment, and its seconds.

    Args:
        requirement: MMCV's distribution and version.
        cores: CPU cores of this machine.
        slowness: See :func:`tools.setup.estimate.slowness`.
    """
    if any(kept_wheels().glob(f'{requirement.replace("==", "-")}-*/*.whl')):
        return 'MMCV, compiled before', slowness * 3.0
    costs = [estimate.compile_cost(77 // UNITS, number == 0) for number in range(UNITS)]
    compiling = estimate.SETUP_SECONDS + max(estimate.finish_times(costs, cores)) + estimate.PACKING_SECONDS
    return "MMCV's ops, compiled", slowness * compiling


def keep(wheel: Path, folder: Path) -> None:
    """Copy a wheel that works to where the next environment looks for it, if that can be written."""
    if wheel.parent == folder or os.environ.get('PIP_NO_CACHE_DIR'):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f'{wheel.name}.partial'
        shutil.copyfile(wheel, partial)
        partial.replace(folder / wheel.name)
    except OSError as error:
        say(f'  the compiled wheel is not kept for the next environment: {error}')


def wheels(env: Environment, requirement: str, kept: Path, work: Path) -> Iterator[Path]:
    """Yield wheels to try, from the cheapest to the safest.

    Args:
        env: See :func:`install_mmcv`.
        requirement: MMCV's distribution and version.
        kept: Folder of a wheel that was compiled before.
        work: Folder for sources and compiled files. It stays when a build is interrupted, and the next call goes on.

    Raises:
        InstallError: If MMCV cannot be downloaded or compiled.
    """
    for wheel in sorted(kept.glob('*.whl')):
        say(f'installing {requirement} from an earlier build for this torch: {wheel}')
        yield wheel
    archive = download(env, requirement, work)
    if archive.suffix == '.whl':
        say(f'installing {archive.name}')
        yield archive
        archive = download(env, requirement, work, '--no-binary', requirement.partition('=')[0])
    check_compiler()
    alone = not any(os.environ.get(name, '0') == '1' for name in OTHER_DEVICES) and os.name == 'posix'
    for joined in (True, False) if alone and env.run(WITHOUT_GPU).returncode == 0 else (False,):
        folder = unpack(archive, work / ('joined' if joined else 'separate'), joined)
        if env.torch_version() >= CXX20_SINCE:
            leave_standard_to_torch(folder / 'setup.py')
        if joined:
            say(f"installing {requirement}: MMCV's ops are compiled for the installed torch, once")
        else:
            say(f'installing {requirement}: its files are compiled one by one, 5 to 10 minutes on two cores')
        if compile_wheel(env, folder):
            yield from sorted(folder.parent.glob('*.whl'))
        elif not joined:
            raise InstallError(f'MMCV could not be compiled; the end of the output:\n{env.tail()}')


def download(env: Environment, requirement: str, folder: Path, *options: str) -> Path:
    """Download MMCV, unless it is there already; return the archive of its sources or a wheel."""
    folder.mkdir(parents=True, exist_ok=True)
    endings = ('*.tar.gz', '*.zip') if options else ('*.whl', '*.tar.gz', '*.zip')
    for attempt in range(2):
        archives = [path for ending in endings for path in sorted(folder.glob(ending))]
        if archives:
            return archives[0]
        if attempt or not env.pip(
            'download', '--no-deps', '--no-build-isolation', '--dest', str(folder), *options, requirement
        ):
            break
    raise InstallError(f'{requirement} could not be downloaded; the end of the output:\n{env.tail()}')


def unpack(archive: Path, folder: Path, joined: bool) -> Path:
    """Unpack the sources, once; return their root."""
    if not folder.exists():
        partial = folder.with_suffix('.partial')
        shutil.rmtree(partial, ignore_errors=True)
        shutil.unpack_archive(archive, partial)
        if joined:
            join_sources(next(partial.iterdir()) / OPS)
        partial.rename(folder)
    return next(path for path in folder.iterdir() if path.is_dir())


def leave_standard_to_torch(setup: Path) -> None:
    """Remove the C++ standard from MMCV's setup.py: torch adds its own where none is named."""
    text = setup.read_text(encoding='utf-8')
    setup.write_text(text.replace("'-std=c++17'", ''), encoding='utf-8')


def join_sources(folder: Path) -> None:
    """Write a few files that include all C++ sources of MMCV's ops, and rename these so that they are not compiled.

    Files that define the same name go into different units, a macro ends with the file that defines it, and files with
    ``using namespace std`` come last.

    Args:
        folder: The ops, with those for a CPU in its folder ``cpu``.
    """
    texts = {
        path: COMMENT.sub('', path.read_text(encoding='utf-8'))
        for path in sorted(folder.glob('*.cpp')) + sorted(folder.glob('cpu/*.cpp'))
    }
    units = [list[Path]() for _ in range(UNITS)]
    sizes, names = [0] * UNITS, [set[str]() for _ in range(UNITS)]
    # The largest file has the bindings and takes longest, so it comes first and its unit is the first to be compiled.
    for path in sorted(texts, key=lambda path: -len(texts[path])):
        defined = {first or second for first, second in DEFINITION.findall(texts[path])}
        chosen = min(range(UNITS), key=lambda number: (len(names[number] & defined), sizes[number]))
        units[chosen].append(path)
        sizes[chosen] += len(texts[path])
        names[chosen] |= defined
    for number, paths in enumerate(units):
        lines = []
        for path in sorted(paths, key=lambda path: ('using namespace std' in texts[path], path)):
            part = path.with_suffix('.inc')
            path.rename(part)
            lines.append(f'#include "{part.relative_to(folder).as_posix()}"')
            lines += [f'#undef {macro}' for macro in MACRO.findall(texts[path])]
        (folder / f'unit_{number}.cpp').write_text('\n'.join(lines) + '\n', encoding='utf-8')


class CompileProgress:
    """Progress of a compilation: the finished source files of MMCV and the time that is left.

    Args:
        source: Root of MMCV's sources.
        jobs: Compilers that run at a time.
    """

    def __init__(self, source: Path, jobs: int) -> None:
        self.source = source
        self.files: dict[Path, int] = {}
        costs: dict[Path, float] = {}
        for path in sorted((source / OPS).glob('*.cpp')) + sorted((source / OPS).glob('cpu/*.cpp')):
            text = path.read_text(encoding='utf-8')
            compiled = path.relative_to(source).with_suffix('.o')
            self.files[compiled] = max(1, text.count('.inc"'))
            bindings = 'pybind' in path.name or '"pybind.inc"' in text
            costs[compiled] = estimate.compile_cost(self.files[compiled], bindings)
        # An interrupted build goes on where it stopped.
        self.before = self.compiled()
        times = estimate.finish_times([cost for name, cost in costs.items() if name not in self.before], jobs)
        self.expected = [0.0, *(estimate.SETUP_SECONDS + time for time in times)]
        self.steps = 0
        self.scale = estimate.slowness()

    def compiled(self) -> set[Path]:
        """Return the object files that exist."""
        folders = list((self.source / 'build').glob('temp*'))
        return {name for name in self.files if any((folder / name).exists() for folder in folders)}

    def __call__(self, seconds: float) -> str:
        """Return the line to show, from the seconds since the start."""
        compiled = self.compiled()
        steps = len(compiled - self.before)
        if steps > self.steps:
            # Later steps are expected to be as much faster or slower as the steps so far.
            self.steps, self.scale = steps, seconds / self.expected[steps]
        left = self.scale * (self.expected[-1] + estimate.PACKING_SECONDS) - seconds
        files = sum(self.files[name] for name in compiled)
        late = 'nearly done' if len(compiled) == len(self.files) else 'slower than expected'
        time_left = f'about {estimate.duration(left)} left' if left > 0 else late
        return f'compiled {files} of {sum(self.files.values())} files, {time_left}'


def compile_wheel(env: Environment, source: Path) -> bool:
    """Compile the ops and pack a wheel into the folder that holds the sources; return whether that succeeded."""
    jobs = int(os.environ.get('MAX_JOBS') or estimate.cores())
    environ = {'MAX_JOBS': str(jobs)}
    if os.name == 'posix' and not {'CFLAGS', 'CXXFLAGS'} & set(os.environ):
        # Setuptools adds CPPFLAGS to Python's own flags, such as -O3, and would replace these by CFLAGS.
        environ['CPPFLAGS'] = f'{os.environ.get("CPPFLAGS", "")} -g0'.strip()
    if shutil.which('ccache'):
        # Torch calls ccache by itself. Paths relative to the environment let another checkout take the same entries.
        environ |= {'CCACHE_BASEDIR': os.environ.get('CCACHE_BASEDIR', str(env.path)), 'CCACHE_NOHASHDIR': '1'}
    # Pip's cache would return an earlier build, also one that did not import.
    command = ('wheel', '--no-cache-dir', '--no-build-isolation', '--no-deps', '--wheel-dir')
    return env.pip(*command, str(source.parent), str(source), environ=environ, status=CompileProgress(source, jobs))


def check_compiler() -> None:
    """Say what a compilation would miss, before it starts."""
    compilers: Sequence[str] = (os.environ.get('CXX', ''), 'c++', 'g++', 'clang++', 'cl')
    if not any(shutil.which(name.split()[0]) for name in compilers if name):
        raise InstallError('no C++ compiler was found; on Debian and Ubuntu `apt install g++` provides one.')
    if not (Path(sysconfig.get_paths()['include']) / 'Python.h').exists():
        raise InstallError("Python's headers were not found; on Debian and Ubuntu `apt install python3-dev` has them.")
