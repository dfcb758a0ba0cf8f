# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Tries the package as its users get it: ``tox -e package``.

Builds an sdist, and a wheel from it; installs the wheel; compares its contents
with the sdist's; and runs the unit tests in the unpacked sdist. It also builds
a wheel of a copy with a tag, whose version must be the tag's.
"""

import argparse
import filecmp
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = 'glance_xs_convert'
#: A version that no release will have.
TAG = '2999.1.0'


def run(*command: object, directory: pathlib.Path = ROOT) -> str:
    """Run a command and return its output.

    :raises CalledProcessError: it fails
    """
    return subprocess.run(
        [str(word) for word in command], cwd=directory, check=True,
        stdout=subprocess.PIPE, text=True).stdout


def build(source: pathlib.Path, target: pathlib.Path, *options: str) -> None:
    """Build an sdist, and a wheel from it."""
    run(sys.executable, '-m', 'build', '--installer', 'uv', *options,
        '--outdir', target, source)


def unpack(sdist: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    """Unpack an sdist beside what its tests need."""
    with tarfile.open(sdist) as archive:
        archive.extractall(target, filter='data')
    shared = ROOT.parent / 'shared'
    if shared.exists():
        target.joinpath('shared').symlink_to(shared)
    unpacked, = (path for path in target.iterdir() if path.name != 'shared')
    return unpacked


def check_contents(wheel: pathlib.Path, unpacked: pathlib.Path,
                   scratch: pathlib.Path) -> None:
    """Check that the wheel has the same modules as the sdist."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(scratch)
    names = sorted(str(path.relative_to(unpacked)) for path in
                   unpacked.joinpath(PACKAGE).rglob('*.py'))
    found = sorted(str(path.relative_to(scratch)) for path in
                   scratch.joinpath(PACKAGE).rglob('*.py'))
    if names != found:
        sys.exit(f'the wheel lacks or adds {set(names) ^ set(found)}')
    _, wrong, errors = filecmp.cmpfiles(unpacked, scratch, names,
                                        shallow=False)
    if wrong or errors:
        sys.exit(f'the wheel differs from the sdist: {wrong + errors}')


def check_installed(wheel: pathlib.Path) -> None:
    """Install the wheel, and check what it says of its version."""
    run(sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps',
        '--force-reinstall', wheel)
    version = run(sys.executable, '-c',
                  'import importlib.metadata as metadata; '
                  f'print(metadata.version("{PACKAGE}"))',
                  directory=wheel.parent).strip()
    command = pathlib.Path(sys.executable).with_name('glance-xs-convert')
    said = run(command, '--version', directory=wheel.parent).split()[-1]
    if not said == version == wheel.name.split('-')[1]:
        sys.exit(f'{wheel.name} says that it is {said}, and pip {version}')


def check_tag(scratch: pathlib.Path) -> None:
    """Check that a wheel of a tagged commit has the tag's version."""
    copy, target = scratch / 'copy', scratch / 'tagged'
    run('git', 'clone', '--quiet', ROOT, copy)
    run('git', '-c', 'user.name=nobody', '-c', 'user.email=nobody@localhost',
        'tag', '--annotate', '--message=try', TAG, directory=copy)
    build(copy, target, '--wheel')
    wheel, = target.glob('*.whl')
    if wheel.name.split('-')[1] != TAG:
        sys.exit(f'{wheel.name} was built of a commit with the tag {TAG}')


def main() -> int:
    """Try the package; arguments go to stestr.

    :returns: exit status of the unit tests
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('stestr', nargs='*')
    arguments = parser.parse_args()
    os.environ.pop('PYTHONPATH', None)
    with tempfile.TemporaryDirectory() as directory:
        scratch = pathlib.Path(directory)
        check_tag(scratch)
        dist = scratch / 'dist'
        build(ROOT, dist)
        (sdist,), (wheel,) = dist.glob('*.tar.gz'), dist.glob('*.whl')
        unpacked = unpack(sdist, scratch / 'sdist')
        check_contents(wheel, unpacked, scratch / 'wheel')
        check_installed(wheel)
        print(f'{sdist.name} and {wheel.name} were built and installed with '
              f'Python {sys.version.split()[0]}', flush=True)
        ended = subprocess.run(
            [shutil.which('stestr') or 'stestr', 'run', *arguments.stestr],
            cwd=unpacked, check=False)
        return ended.returncode


if __name__ == '__main__':
    sys.exit(main())
