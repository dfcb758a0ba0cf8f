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

"""The options of the group ``[xs_convert]``."""

from collections.abc import Collection

from oslo_config import cfg
from oslo_utils import units

from glance_xs_convert import limits

GROUP = 'xs_convert'

#: What the plugin is called in image_import_plugins.
PLUGIN = 'xs_convert'
#: The import method with which the upload filter imports.
UPLOAD_METHOD = 'glance-direct'

_DEFAULTS = limits.Limits()

OPTS: list[cfg.Opt] = [
    cfg.BoolOpt(
        'convert_bare_vhd',
        default=False,
        help="""
Whether to convert images with disk_format vhd and container_format bare, too.

Such an image is one VHD without an archive around it, as other hypervisors
make them. Dynamic and fixed disks are converted, a differencing disk is
refused: its parent is missing.
"""),
    cfg.ListOpt(
        'remove_properties',
        default=[],
        bounds=False,
        help="""
Names of image properties that are taken off a converted image.

An asterisk stands for any text. A dash in a property's name is as good as an
underscore, since some tools uploaded one for the other. Properties that keep
an image from hosts with another hypervisor than Xen are of no use any more.

Possible values:

* a comma-separated list, for example
  ``hypervisor_type,vm_mode,auto_disk_config,xenapi_*``
"""),
    cfg.BoolOpt(
        'record_provenance',
        default=True,
        help="""
Whether a converted image gets properties that say what it was made of.

They are ``xs_convert_source_format``, ``xs_convert_layers``,
``xs_convert_archive_size`` and ``xs_convert_archive_sha256``.
"""),
    cfg.StrOpt(
        'on_plain_upload',
        default='convert',
        choices=[
            ('convert', 'the data is imported, and thereby converted'),
            ('pass', 'the data is stored as it comes'),
            ('refuse', 'the client gets status 409 and is told to import'),
        ],
        help="""
What is done with a plain upload of a XenServer image.

Glance runs import plugins for imports only, and clients that do not know of
imports upload the data with ``PUT /v2/images/{image_id}/file``. The option has
effect where the filter ``xs_convert_upload`` is in the pipeline of
``glance-api-paste.ini``. Where ``glance-direct`` is not among the
``enabled_import_methods``, or ``xs_convert`` not among the
``image_import_plugins``, ``convert`` is as good as ``pass``.
"""),
    cfg.IntOpt(
        'max_concurrent',
        default=2,
        min=0,
        help="""
How many conversions run at once on a host; 0 for any number.

Others wait for their turn, and say so in their task's message.
"""),
    cfg.StrOpt(
        'lock_path',
        help="""
The directory in which the conversions of a host take their turns.

It belongs to the user that Glance runs as, and is made if it is missing.
Where it is not set, a directory for the user in the one for temporary files
is used. Imports that were cut off because Glance was killed are found by what
is in it, and set back. So it should be a directory of this host that outlives
a restart, which those for temporary files do not with ``PrivateTmp`` of
systemd, or in a container.

Related options:

* ``max_concurrent``
"""),
    cfg.IntOpt(
        'max_virtual_size',
        default=_DEFAULTS.max_virtual_size // units.Gi,
        min=1,
        help="""
The largest disk that is converted, in GiB.

Images whose disk, or any layer of it, is larger are refused before anything
is written. The default is the largest disk that the VHD format knows.
"""),
    cfg.IntOpt(
        'max_chain_length',
        default=_DEFAULTS.max_chain_length,
        min=1,
        help="""
The longest chain of VHDs that is converted.

The default is the longest chain that XenServer makes.
"""),
    cfg.IntOpt(
        'max_memory',
        default=1024,
        min=256,
        help="""
The address space that a conversion may use, in MiB.

A conversion uses far less memory than this; the limit keeps a hostile image
from using more.
"""),
    cfg.IntOpt(
        'max_cpu_time',
        default=4 * 3600,
        min=0,
        help="""
The processor time that a conversion may use, in seconds; 0 for no limit.

Small archives get less: a minute, and ten seconds for each MiB.
"""),
    cfg.IntOpt(
        'progress_timeout',
        default=300,
        min=10,
        help="""
How long a conversion may go without progress, in seconds.

A conversion that neither reads nor writes for so long, because the staging
file system hangs for example, is stopped and the import fails.
"""),
]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """All options, for oslo-config-generator."""
    return [(GROUP, OPTS)]


def list_sample_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """The line of Glance's own that switches the plugin on.

    For the sample ``glance-image-import.conf``; Glance registers the option.
    """
    return [('image_import_opts', [cfg.ListOpt(
        'image_import_plugins',
        default=[],
        bounds=True,
        sample_default='[xs_convert]',
        help="""
The image-import plugins that Glance runs, in this order.

The brackets are part of the value. ``xs_convert`` comes before
``image_conversion``, and may come before or after ``image_decompression``.
""")])]


def limits_of(group: cfg.ConfigOpts.GroupAttr) -> limits.Limits:
    """The converter's limits as configured.

    :param group: ``CONF.xs_convert``
    """
    return limits.Limits(
        max_virtual_size=group.max_virtual_size * units.Gi,
        max_chain_length=group.max_chain_length)


def missing_for_uploads(import_methods: Collection[str],
                        import_plugins: Collection[str]) -> str | None:
    """What keeps the upload filter from importing, or None.

    :param import_methods: Glance's enabled_import_methods
    :param import_plugins: Glance's image_import_plugins
    """
    if UPLOAD_METHOD not in import_methods:
        return f'{UPLOAD_METHOD} is not among the enabled_import_methods'
    if PLUGIN not in import_plugins:
        return f'{PLUGIN} is not among the image_import_plugins'
    return None
