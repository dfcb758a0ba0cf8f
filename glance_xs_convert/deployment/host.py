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

"""Checks of the host: what Glance's user can do there, and its tools."""

import contextlib
import io
import os
import pathlib
import shutil
import tarfile
import tempfile
import uuid

from oslo_upgradecheck import upgradecheck
from oslo_utils import units

from glance_xs_convert.converter.vhd import layout
from glance_xs_convert.deployment import configuration
from glance_xs_convert.deployment import users
from glance_xs_convert import exceptions
from glance_xs_convert import options
from glance_xs_convert import text
from glance_xs_convert.worker import parent
from glance_xs_convert.worker import protocol

Code = upgradecheck.Code
Result = upgradecheck.Result
Deployment = configuration.Deployment

#: The free space in staging below which there is a warning, in bytes.
LITTLE_ROOM = 10 * units.Gi
#: The size of the disk in the sample, in bytes.
SAMPLE_SIZE = 64 * units.Ki
#: How long the conversion of the sample may go without progress, in seconds.
_SAMPLE_PATIENCE = 30


def check_staging(deployment: Deployment) -> Result:
    path = deployment.staging()
    try:
        with tempfile.TemporaryFile(dir=path):
            room = shutil.disk_usage(path).free
            owner = users.name(os.stat(path).st_uid)
    except FileNotFoundError:
        return Result(Code.FAILURE, f'the staging area {path} does not exist')
    except OSError as error:
        return Result(
            Code.FAILURE,
            f'{users.name(os.geteuid())} cannot write to the staging area '
            f'{path}: {error.strerror}')
    details = (f'{users.name(os.geteuid())} can write to {path}, which '
               f'belongs to {owner} and has {text.size(room)} of free space')
    if room < LITTLE_ROOM:
        return Result(Code.WARNING, f'{details}, which may not be enough for '
                                    'an archive and its raw disk')
    return Result(Code.SUCCESS, details)


def check_tickets(deployment: Deployment) -> Result:
    """Check that imports can keep their tickets."""
    path = deployment.tickets()
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        with tempfile.TemporaryFile(dir=path):
            found = os.stat(path)
    except OSError as error:
        return Result(
            Code.FAILURE,
            f'imports fail: {users.name(os.geteuid())} cannot write to '
            f'{path}, in which imports keep their tickets: {error.strerror}; '
            f'set lock_path in [{options.GROUP}]')
    if found.st_uid != os.geteuid():
        return Result(
            Code.FAILURE,
            f'imports fail: {path}, in which imports keep their tickets, '
            f'belongs to {users.name(found.st_uid)}, not to '
            f'{users.name(os.geteuid())}')
    return Result(Code.SUCCESS,
                  f'{users.name(os.geteuid())} can write to {path}')


def check_qemu_img(deployment: Deployment) -> Result:
    """Check what Glance's own plugin ``image_conversion`` starts."""
    if shutil.which('qemu-img') is None:
        return Result(Code.FAILURE, 'imports fail: image_conversion needs '
                                    'qemu-img, which is not installed')
    if deployment.interpreter() is None:
        return Result(
            Code.WARNING,
            'if Glance runs under uWSGI or mod_wsgi, imports fail: '
            'image_conversion then starts the web server as if it were '
            'Python; set python_interpreter in [wsgi]')
    return Result(Code.SUCCESS, 'qemu-img is installed, and '
                                'python_interpreter is set')


def check_converter(deployment: Deployment) -> Result:
    """Convert an image with one small layer, as the plugin would."""
    python = parent.interpreter(deployment.interpreter())
    group = deployment.options()
    data = os.urandom(SAMPLE_SIZE)
    with tempfile.TemporaryDirectory() as directory:
        archive = pathlib.Path(directory, 'sample.tar')
        raw = pathlib.Path(directory, 'sample.raw')
        archive.write_bytes(sample(data))
        request = protocol.Request(
            options.limits_of(group),
            max_memory=group.max_memory * units.Mi,
            max_cpu_time=group.max_cpu_time, sandbox=group.sandbox)
        try:
            parent.convert_file(
                str(archive), str(raw), request, python=python,
                on_progress=lambda progress: None,
                progress_timeout=_SAMPLE_PATIENCE)
        except (exceptions.XsConvertError, OSError) as error:
            return Result(Code.FAILURE,
                          f'{python} cannot convert a sample: {error}')
        if raw.read_bytes() != data:
            return Result(Code.FAILURE,
                          f'{python} converts a sample incorrectly')
    return Result(Code.SUCCESS, f'{python} can convert a sample')


def check_sandbox(deployment: Deployment) -> Result:
    """Report what a confined process can do on this host."""
    group = deployment.options()
    if group.sandbox == protocol.OFF:
        return Result(Code.WARNING, 'it is off: a converter can do all that '
                                    "Glance's user can")
    try:
        found = parent.probe(
            protocol.Request(
                options.limits_of(group), sandbox=group.sandbox,
                max_memory=group.max_memory * units.Mi),
            python=parent.interpreter(deployment.interpreter()))
    except exceptions.XsConvertError as error:
        return Result(Code.FAILURE, f'imports fail: {error}')
    states = [f'{what}: {"open" if is_open else "denied"}'
              for what, is_open in (
                  ('files', found.files), ('network', found.network),
                  ('programs', found.programs),
                  ('other processes', found.processes))]
    is_open = any((found.files, found.network, found.programs,
                   found.processes))
    return Result(Code.WARNING if is_open else Code.SUCCESS,
                  ', '.join(states))


def sample(data: bytes) -> bytes:
    """Make a XenServer image of one fixed disk.

    :param data: the disk's data, in whole sectors
    """
    footer = layout.Footer(
        features=2, file_format_version=0x10000, data_offset=2 ** 64 - 1,
        time_stamp=0, creator_application=b'tap\0',
        creator_version=0x10003, creator_host_os=bytes(4),
        original_size=len(data), current_size=len(data), disk_geometry=0,
        disk_type=layout.DISK_TYPE_FIXED, checksum=0,
        unique_id=uuid.uuid4(), saved_state=0, hidden=0)
    vhd = data + footer.pack()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w') as archive:
        member = tarfile.TarInfo('0.vhd')
        member.size = len(vhd)
        archive.addfile(member, io.BytesIO(vhd))
    return file.getvalue()
