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

#: The name of the plugin in image_import_plugins.
PLUGIN = 'xs_convert'
#: The import method that the upload filter uses.
UPLOAD_METHOD = 'glance-direct'

_DEFAULTS = limits.Limits()

OPTS: list[cfg.Opt] = [
    cfg.BoolOpt(
        'convert_bare_vhd',
        default=False,
        help="""
Also convert images with disk_format vhd and container_format bare.

Such an image is a single VHD without an archive around it, as other
hypervisors make it. Dynamic and fixed disks are converted. A differencing
disk is refused because its parent is missing.
"""),
    cfg.ListOpt(
        'remove_properties',
        default=[],
        bounds=False,
        help="""
Names of the properties to remove from converted images.

An asterisk matches any text. Dashes and underscores in the name of a
property are equivalent, because some tools uploaded one in place of the
other. Use this option to remove properties that restrict an image to Xen
hosts.

Possible values:

* a comma-separated list, for example
  ``hypervisor_type,vm_mode,auto_disk_config,xenapi_*``
"""),
    cfg.BoolOpt(
        'record_provenance',
        default=True,
        help="""
Record the origin of a converted image in its properties.

The properties are ``xs_convert_source_format``, ``xs_convert_layers``,
``xs_convert_archive_size`` and ``xs_convert_archive_sha256``, and for a
XenServer export also ``xs_convert_vm_name`` and ``xs_convert_product``.
"""),
    cfg.StrOpt(
        'on_plain_upload',
        default='convert',
        choices=[
            ('convert', 'import the data, which converts it'),
            ('pass', 'store the data unchanged'),
            ('refuse', 'answer with status 409 and a hint to import instead'),
        ],
        help="""
How to handle a plain upload of a XenServer image.

Glance runs import plugins for imports only, but clients that do not import
upload the data with ``PUT /v2/images/{image_id}/file``. This option takes
effect if the filter ``xs_convert_upload`` is in the pipeline of
``glance-api-paste.ini``. If ``glance-direct`` is not among the
``enabled_import_methods``, or ``xs_convert`` not among the
``image_import_plugins``, ``convert`` has the same effect as ``pass``.
"""),
    cfg.IntOpt(
        'max_concurrent',
        default=2,
        min=0,
        help="""
The number of conversions that may run on a host at once; 0 for no limit.

Other conversions wait for their turn, and their tasks' messages say so.
"""),
    cfg.StrOpt(
        'lock_path',
        help="""
The directory in which the imports of a host keep their tickets.

It must belong to the user that Glance runs as; the plugin creates it if
necessary. By default, the plugin uses a directory named after the user's ID
below the directory for temporary files.

Conversions take turns by their tickets. If Glance is killed, the plugin finds
the interrupted imports by the tickets in this directory and releases their
images. The directory should therefore be local to the host and outlive a
restart. A directory for temporary files does not outlive one in a container,
or with systemd's ``PrivateTmp``.

Related options:

* ``max_concurrent``
"""),
    cfg.IntOpt(
        'max_virtual_size',
        default=_DEFAULTS.max_virtual_size // units.Gi,
        min=1,
        help="""
The size of the largest disk to convert, in GiB.

An image whose disk, or any layer of it, is larger is refused before
anything is written. The default is the largest size that the VHD format
allows.
"""),
    cfg.IntOpt(
        'max_chain_length',
        default=_DEFAULTS.max_chain_length,
        min=1,
        help="""
The length of the longest chain of VHDs to convert.

The default is the length of the longest chain that XenServer makes.
"""),
    cfg.IntOpt(
        'max_memory',
        default=1024,
        min=256,
        help="""
The address space that a conversion may use, in MiB.

A conversion needs far less memory than the default; the limit protects the
host against hostile images.
"""),
    cfg.IntOpt(
        'max_cpu_time',
        default=4 * 3600,
        min=0,
        help="""
The processor time that a conversion may use, in seconds; 0 for no limit.

Small archives get less: one minute plus ten seconds per MiB.
"""),
    cfg.IntOpt(
        'max_time',
        default=24 * 3600,
        min=0,
        help="""
The time that a conversion may take, in seconds; 0 for no limit.

The plugin stops a conversion that takes longer, whatever progress it reports,
so that it does not keep its turn forever.
"""),
    cfg.IntOpt(
        'progress_timeout',
        default=300,
        min=10,
        help="""
The time that a conversion may go without progress, in seconds.

The plugin stops a conversion that neither reads nor writes for this long,
for example because the staging file system hangs, and the import fails.
"""),
    cfg.StrOpt(
        'sandbox',
        default='best_effort',
        choices=[
            ('required', 'refuse imports if the host lacks a means'),
            ('best_effort', 'log missing means once, and convert'),
            ('off', 'do not confine the converter'),
        ],
        help="""
Whether to confine the converter's process before it reads an image.

The process gives up its privileges; with Landlock, the rights to access files
and the network and to send signals to others; with a limit, the ability to add
file descriptors; and with a seccomp filter, all system calls that a conversion
does not need. Landlock requires Linux 5.13 or later and must be enabled in the
kernel; the filter requires ``libseccomp.so.2``. ``glance-xs-convert status``
shows which means are in force on this host.
"""),
]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """All options, for oslo-config-generator."""
    return [(GROUP, OPTS)]


def list_sample_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Glance's own option that turns the plugin on.

    It is for the sample ``glance-image-import.conf``; Glance registers it.
    """
    return [('image_import_opts', [cfg.ListOpt(
        'image_import_plugins',
        default=[],
        bounds=True,
        sample_default='[xs_convert]',
        help="""
The image-import plugins that Glance runs, in this order.

The brackets are part of the value. ``xs_convert`` must come before
``image_conversion``, and may come before or after ``image_decompression``.
""")])]


def limits_of(group: cfg.ConfigOpts.GroupAttr) -> limits.Limits:
    """Return the converter's limits as configured.

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
