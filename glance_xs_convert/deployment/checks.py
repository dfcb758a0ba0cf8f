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

"""Checks that Glance is set up to convert XenServer images.

Each check has a result and a reason, as in oslo.upgradecheck.
"""

from collections.abc import Callable
import difflib
import importlib.metadata
import io
import os
import pathlib
import pwd
import shutil
import sys
import tarfile
import tempfile
import uuid
import warnings

from oslo_upgradecheck import upgradecheck
from oslo_utils import units
from stevedore import named

from glance_xs_convert.converter.vhd import layout
from glance_xs_convert.deployment import configuration
from glance_xs_convert import exceptions
from glance_xs_convert.plugin import opts
from glance_xs_convert import text
from glance_xs_convert.worker import parent
from glance_xs_convert.worker import protocol

Code = upgradecheck.Code
Result = upgradecheck.Result

_NAMESPACE = 'glance.image_import.plugins'
_DECOMPRESSION = 'image_decompression'
_CONVERSION = 'image_conversion'

#: The names under which glance-api-paste.ini may load the upload filter.
_FILTERS = ('#xs_convert_upload', 'glance_xs_convert.plugin.upload_filter:')
_PLAIN_UPLOADS = {
    'convert': 'the upload filter turns them into imports',
    'pass': 'Glance stores them unconverted, '  # nosec B105
            'because on_plain_upload is pass',
    'refuse': 'the upload filter refuses them, because on_plain_upload is '
              'refuse',
}

#: The import methods for which Glance runs import plugins.
_METHODS = ('glance-direct', 'web-download', 'glance-download')

#: With less space in the staging area, an image of ordinary size may not fit.
_LITTLE_ROOM = 10 * units.Gi

_SAMPLE_SIZE = 64 * units.Ki
_SAMPLE_PATIENCE = 30


def run_all(deployment: configuration.Deployment,
            ) -> list[tuple[str, upgradecheck.Result]]:
    """Run all checks that need the configuration.

    :returns: the names of the checks and their results
    """
    results = []
    for name, check in _CHECKS:
        try:
            result = check(deployment)
        except configuration.BadSetting as error:
            result = Result(Code.FAILURE, str(error))
        results.append((name, result))
    return results


def _options(deployment: configuration.Deployment) -> upgradecheck.Result:
    deployment.options()
    return Result(Code.SUCCESS, f'the options in [{opts.GROUP}] are valid')


def _enabled(deployment: configuration.Deployment) -> upgradecheck.Result:
    plugins = deployment.plugins()
    if opts.PLUGIN in plugins:
        return Result(Code.SUCCESS,
                      f'image_import_plugins is [{",".join(plugins)}]')
    reason = (f'image_import_plugins is [{",".join(plugins)}], without '
              f'{opts.PLUGIN}: Glance stores XenServer images unconverted')
    for similar in difflib.get_close_matches(opts.PLUGIN, plugins, 1):
        reason += f'; is {similar} a misspelling of {opts.PLUGIN}?'
    return Result(Code.FAILURE, reason)


def _loads(deployment: configuration.Deployment) -> upgradecheck.Result:
    """Load the plugin as Glance does, without calling it."""
    failures: list[BaseException] = []
    missing: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        manager: named.NamedExtensionManager[object]
        manager = named.NamedExtensionManager(
            _NAMESPACE, names=[opts.PLUGIN],
            on_load_failure_callback=lambda _, __, error: failures.append(
                error),
            on_missing_entrypoints_callback=missing.update,
            warn_on_missing_entrypoint=False)
    for error in failures:
        if isinstance(error, ModuleNotFoundError) and error.name == 'glance':
            return Result(
                Code.FAILURE,
                f'Glance is not installed for {sys.executable}: install this '
                "package into Glance's own Python environment, and run this "
                'command there')
        return Result(Code.FAILURE,
                      f'{opts.PLUGIN} cannot be loaded: {error!r}')
    if missing:
        return Result(Code.FAILURE,
                      f'no package provides {opts.PLUGIN} in {_NAMESPACE}')
    if len(manager.extensions) > 1:
        return Result(Code.WARNING, f'{len(manager.extensions)} packages '
                                    f'provide {opts.PLUGIN}')
    unknown = sorted(set(deployment.plugins()) - {
        point.name for point in importlib.metadata.entry_points(
            group=_NAMESPACE)})
    if unknown:
        return Result(Code.WARNING,
                      f'{opts.PLUGIN} loads, but no package provides '
                      f'{", ".join(unknown)}')
    glance = importlib.metadata.version('glance')
    return Result(Code.SUCCESS, f'{opts.PLUGIN} loads with Glance {glance}')


def _order(deployment: configuration.Deployment) -> upgradecheck.Result:
    plugins = deployment.plugins()
    if opts.PLUGIN not in plugins:
        return Result(Code.SUCCESS, f'{opts.PLUGIN} is not enabled')
    before = plugins[:plugins.index(opts.PLUGIN)]
    if _CONVERSION in before:
        return Result(
            Code.FAILURE,
            f'{_CONVERSION} comes before {opts.PLUGIN} and refuses XenServer '
            f'images: put {opts.PLUGIN} first')
    if _DECOMPRESSION in before:
        return Result(
            Code.WARNING,
            f'{_DECOMPRESSION} comes before {opts.PLUGIN}: this works, but '
            'wastes time and space in the staging area')
    return Result(Code.SUCCESS, f'no plugin that must follow {opts.PLUGIN} '
                                'comes before it')


def _import_methods(deployment: configuration.Deployment,
                    ) -> upgradecheck.Result:
    enabled = deployment.import_methods()
    methods = [method for method in enabled if method in _METHODS]
    if not methods:
        return Result(
            Code.FAILURE,
            f'enabled_import_methods is [{",".join(enabled)}], but Glance '
            f'runs import plugins only for {", ".join(_METHODS)}')
    return Result(Code.SUCCESS,
                  f'Glance converts imports with {", ".join(methods)}')


def _plain_uploads(deployment: configuration.Deployment,
                   ) -> upgradecheck.Result:
    """Say what happens to XenServer images that are not imported."""
    filters = deployment.filters()
    if filters is None:
        return Result(Code.SUCCESS, 'glance-api-paste.ini was not found')
    if not any(known in one for one in filters for known in _FILTERS):
        return Result(Code.SUCCESS, 'Glance stores them unconverted, because '
                                    'the filter xs_convert_upload is not in '
                                    'the pipeline')
    action = deployment.options().on_plain_upload
    missing = opts.missing_for_uploads(
        deployment.import_methods(), deployment.plugins())
    if action == 'convert' and missing:
        return Result(Code.WARNING, 'Glance stores them unconverted, because '
                                    f'{missing}')
    return Result(Code.SUCCESS, _PLAIN_UPLOADS[action])


def _staging(deployment: configuration.Deployment) -> upgradecheck.Result:
    path = deployment.staging()
    try:
        with tempfile.TemporaryFile(dir=path):
            room = shutil.disk_usage(path).free
            owner = _owner(path)
    except FileNotFoundError:
        return Result(Code.FAILURE, f'the staging area {path} does not exist')
    except OSError as error:
        return Result(
            Code.FAILURE,
            f'{_user(os.geteuid())} cannot write to the staging area '
            f'{path}: {error.strerror}')
    details = (f'{_user(os.geteuid())} can write to {path}, which belongs to '
               f'{owner} and has {text.size(room)} of free space')
    if room < _LITTLE_ROOM:
        return Result(Code.WARNING, f'{details}, which may not be enough for '
                                    'an archive and its raw disk')
    return Result(Code.SUCCESS, details)


def _converter(deployment: configuration.Deployment) -> upgradecheck.Result:
    """Convert an image with one small layer, as the plugin would."""
    python = parent.interpreter(deployment.interpreter())
    options = deployment.options()
    data = os.urandom(_SAMPLE_SIZE)
    with tempfile.TemporaryDirectory() as directory:
        archive = pathlib.Path(directory, 'sample.tar')
        raw = pathlib.Path(directory, 'sample.raw')
        archive.write_bytes(sample(data))
        request = protocol.Request(
            opts.limits_of(options), max_memory=options.max_memory * units.Mi,
            max_cpu_time=options.max_cpu_time, sandbox=options.sandbox)
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


def _sandbox(deployment: configuration.Deployment) -> upgradecheck.Result:
    """What a confined process can do on this host, found out by one."""
    options = deployment.options()
    if options.sandbox == protocol.OFF:
        return Result(Code.WARNING, 'it is off: a converter can do all that '
                                    "Glance's user can")
    try:
        found = parent.probe(
            protocol.Request(
                opts.limits_of(options), sandbox=options.sandbox,
                max_memory=options.max_memory * units.Mi),
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


def _owner(path: str) -> str:
    return _user(os.stat(path).st_uid)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f'user {number}'


_CHECKS: list[tuple[str, Callable[[configuration.Deployment],
                                  upgradecheck.Result]]] = [
    ('Options', _options),
    ('Plugin is enabled', _enabled),
    ('Plugin loads', _loads),
    ('Order of plugins', _order),
    ('Import methods', _import_methods),
    ('Plain uploads', _plain_uploads),
    ('Staging area', _staging),
    ('Converter starts', _converter),
    ('Sandbox', _sandbox),
]
