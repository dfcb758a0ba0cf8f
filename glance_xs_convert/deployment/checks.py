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

Each check has a result and a reason, as in oslo.upgradecheck. This module has
those of the configuration; :mod:`.host` has those of the host.
"""

from collections.abc import Callable
from collections.abc import Iterable
import difflib
import importlib.metadata
import sys
import warnings

from oslo_upgradecheck import upgradecheck
from stevedore import named

from glance_xs_convert.deployment import configuration
from glance_xs_convert.deployment import host
from glance_xs_convert import exceptions
from glance_xs_convert import options
from glance_xs_convert import terms

Code = upgradecheck.Code
Result = upgradecheck.Result
Deployment = configuration.Deployment
Check = Callable[[Deployment], Result]

_NAMESPACE = 'glance.image_import.plugins'
_DECOMPRESSION = 'image_decompression'
CONVERSION = 'image_conversion'

#: The major versions of Glance that this package is tested with.
OLDEST_GLANCE, NEWEST_GLANCE = 30, 33

#: What becomes of plain uploads of XenServer images, by ``on_plain_upload``.
_PLAIN_UPLOADS = {
    'convert': (Code.SUCCESS, 'the upload filter turns them into imports'),
    'pass': (Code.WARNING, 'Glance stores them unconverted, '  # nosec B105
                           'because on_plain_upload is pass'),
    'refuse': (Code.SUCCESS, 'the upload filter refuses them, because '
                             'on_plain_upload is refuse'),
}

#: The import methods for which Glance runs import plugins.
_METHODS = (terms.DIRECT, terms.WEB, terms.DOWNLOAD)
#: The port on which Glance listens by default.
_GLANCE_PORT = 9292


def run_all(deployment: Deployment,
            chosen: Iterable[tuple[str, Check]],
            ) -> list[tuple[str, Result]]:
    """Run checks that need the configuration.

    :param chosen: the names of the checks and the checks
    :returns: the names of the checks and their results
    """
    results = []
    reported: dict[str, str] = {}
    for name, check in chosen:
        try:
            result = check(deployment)
        except (configuration.BadSetting,
                exceptions.XsConvertError) as error:
            # Several checks may read one setting; it is reported once.
            first = reported.setdefault(str(error), name)
            result = Result(Code.FAILURE, str(error) if first == name
                            else f'see "{first}"')
        results.append((name, result))
    return results


def _check_options(deployment: Deployment) -> Result:
    deployment.options()
    known = dict(options.list_opts())
    unknown = deployment.unknown_options(known)
    if unknown:
        return Result(Code.WARNING, '; '.join(
            _describe_unknown(group, name, [opt.name for opt in known[group]])
            for group, name in unknown))
    for section in deployment.sections():
        if section not in known and difflib.get_close_matches(
                section.replace('-', '_').lower(), known, 1, 0.85):
            return Result(Code.WARNING, f'nothing reads the section '
                          f'[{section}]: should it be '
                          f'{" or ".join(f"[{name}]" for name in known)}?')
    return Result(Code.SUCCESS, f'the options in [{options.GROUP}] are valid')


def _describe_unknown(group: str, name: str, known: list[str]) -> str:
    reason = f'[{group}] has no option {name}, so it has no effect'
    for similar in difflib.get_close_matches(name, known, 1):
        reason += f'; is it a misspelling of {similar}?'
    return reason


def _check_enabled(deployment: Deployment) -> Result:
    plugins = deployment.plugins()
    if options.PLUGIN in plugins:
        return Result(Code.SUCCESS,
                      f'image_import_plugins is [{",".join(plugins)}]')
    reason = (f'image_import_plugins is [{",".join(plugins)}], without '
              f'{options.PLUGIN}: Glance stores XenServer images unconverted')
    for similar in difflib.get_close_matches(options.PLUGIN, plugins, 1):
        reason += f'; is {similar} a misspelling of {options.PLUGIN}?'
    return Result(Code.FAILURE, reason)


def _check_loading(deployment: Deployment) -> Result:
    """Load the plugin as Glance does, without calling it."""
    failures: list[BaseException] = []
    missing: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        manager: named.NamedExtensionManager[object]
        manager = named.NamedExtensionManager(
            _NAMESPACE, names=[options.PLUGIN],
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
                      f'{options.PLUGIN} cannot be loaded: {error!r}')
    if missing:
        return Result(Code.FAILURE,
                      f'no package provides {options.PLUGIN} in {_NAMESPACE}')
    if len(manager.extensions) > 1:
        return Result(Code.WARNING, f'{len(manager.extensions)} packages '
                                    f'provide {options.PLUGIN}')
    unknown = sorted(set(deployment.plugins()) - {
        point.name for point in importlib.metadata.entry_points(
            group=_NAMESPACE)})
    if unknown:
        return Result(Code.WARNING,
                      f'{options.PLUGIN} loads, but no package provides '
                      f'{", ".join(unknown)}')
    return Result(Code.SUCCESS, f'{options.PLUGIN} loads')


def _check_glance(deployment: Deployment) -> Result:
    try:
        version = importlib.metadata.version('glance')
    except importlib.metadata.PackageNotFoundError:
        return Result(Code.FAILURE,
                      f'Glance is not installed for {sys.executable}')
    major = int(version.partition('.')[0])
    if OLDEST_GLANCE <= major <= NEWEST_GLANCE:
        return Result(Code.SUCCESS, f'it is Glance {version}')
    return Result(
        Code.WARNING,
        f'this package was tested with Glance {OLDEST_GLANCE} to '
        f'{NEWEST_GLANCE}, not with {version}: look for '
        f'{"an upgrade" if major > NEWEST_GLANCE else "a newer Glance"}')


def _check_order(deployment: Deployment) -> Result:
    plugins = deployment.plugins()
    if options.PLUGIN not in plugins:
        return Result(Code.SUCCESS, f'{options.PLUGIN} is not enabled')
    before = plugins[:plugins.index(options.PLUGIN)]
    if CONVERSION in before:
        return Result(
            Code.FAILURE,
            f'{CONVERSION} comes before {options.PLUGIN} and refuses '
            f'XenServer images: put {options.PLUGIN} first')
    if _DECOMPRESSION in before:
        return Result(
            Code.WARNING,
            f'{_DECOMPRESSION} comes before {options.PLUGIN}: this works, but '
            'wastes time and space in the staging area')
    return Result(Code.SUCCESS, f'no plugin that must follow {options.PLUGIN} '
                                'comes before it')


def _check_conversion_to_other_formats(deployment: Deployment) -> Result:
    """Check what Glance's own plugin needs, which sees every raw disk."""
    if CONVERSION not in deployment.plugins():
        return Result(Code.SUCCESS, f'{CONVERSION} is not enabled')
    return host.check_qemu_img(deployment)


def _check_import_methods(deployment: Deployment) -> Result:
    enabled = deployment.import_methods()
    methods = [method for method in enabled if method in _METHODS]
    if not methods:
        return Result(
            Code.FAILURE,
            f'enabled_import_methods is [{",".join(enabled)}], but Glance '
            f'runs import plugins only for {", ".join(_METHODS)}')
    if options.PLUGIN not in deployment.plugins():
        return Result(
            Code.FAILURE,
            f'Glance imports with {", ".join(methods)}, and converts nothing, '
            f'because {options.PLUGIN} is not enabled')
    return Result(Code.SUCCESS,
                  f'Glance converts imports with {", ".join(methods)}')


def _check_import_filter(deployment: Deployment) -> Result:
    """Check that a cloud may download images from itself."""
    if terms.DOWNLOAD not in deployment.import_methods():
        return Result(Code.SUCCESS, f'{terms.DOWNLOAD} is not enabled')
    port = configuration.port_of(deployment.endpoint()) or _GLANCE_PORT
    if not deployment.refuses_port(port):
        return Result(Code.SUCCESS, f'{terms.DOWNLOAD} may use port {port}')
    return Result(
        Code.WARNING,
        f'{terms.DOWNLOAD} is enabled, but Glance refuses downloads from port '
        f'{port}: if the image endpoint of a region has this port, add it to '
        'allowed_ports in [import_filtering_opts]')


def _check_pipeline(deployment: Deployment) -> Result:
    """Check that Glance can load the filters before its API."""
    found = deployment.pipelines()
    if found.used is None:
        return Result(
            Code.FAILURE,
            f'Glance does not start: {found.path} has no pipeline '
            f'{found.flavor}')
    missing = [one.name for one in found.used if one.factory is None]
    if missing:
        return Result(
            Code.FAILURE,
            'Glance does not start: '
            + ', '.join(f'the pipeline {found.flavor} in {found.path} names '
                        f'{name}, but there is no section [filter:{name}]'
                        for name in missing))
    return Result(Code.SUCCESS, f'{found.path} has every filter of the '
                                f'pipeline {found.flavor}')


def _check_plain_uploads(deployment: Deployment) -> Result:
    """Say what happens to XenServer images that are not imported."""
    found = deployment.pipelines()
    if not any(one.is_ours for one in found.used or ()):
        return Result(Code.WARNING, 'Glance stores them unconverted, because '
                                    'the filter xs_convert_upload is not in '
                                    'the pipeline')
    action = deployment.options().on_plain_upload
    missing = options.missing_for_uploads(
        deployment.import_methods(), deployment.plugins())
    if action == 'convert' and missing:
        return Result(Code.WARNING, 'Glance stores them unconverted, because '
                                    f'{missing}')
    return Result(*_PLAIN_UPLOADS[action])


CHECKS: list[tuple[str, Check]] = [
    ('Options', _check_options),
    ('Plugin is enabled', _check_enabled),
    ('Plugin loads', _check_loading),
    ('Release of Glance', _check_glance),
    ('Order of plugins', _check_order),
    ('image_conversion', _check_conversion_to_other_formats),
    ('Import methods', _check_import_methods),
    ('Import filter', _check_import_filter),
    ('Pipeline', _check_pipeline),
    ('Plain uploads', _check_plain_uploads),
    ('Staging area', host.check_staging),
    ('Tickets', host.check_tickets),
    ('Converter starts', host.check_converter),
    ('Sandbox', host.check_sandbox),
]
