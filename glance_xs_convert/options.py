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
import os
import stat

from oslo_config import cfg
from oslo_utils import units

from glance_xs_convert import image_limits
from glance_xs_convert import terms

GROUP = 'xs_convert'

#: The names of the plugins in image_import_plugins.
PLUGIN = 'xs_convert'
ADAPT_PLUGIN = 'xs_adapt'
PLUGINS = (PLUGIN, ADAPT_PLUGIN)

_DEFAULTS = image_limits.Limits()

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

Other conversions wait for their turn, and their tasks' messages say so. The
turns go round the projects, and the conversions of a project come in the order
in which they began to wait.

Related options:

* ``max_waiting``
"""),
    cfg.IntOpt(
        'max_waiting',
        min=0,
        help="""
The number of conversions that may wait for their turn on a host.

Each of them occupies a thread of Glance's, so that imports of other images
have to wait as well if there are too many. Who comes too late is told to
import the image again later.

By default, conversions that run and conversions that wait together occupy
three quarters of the threads that ``[wsgi] task_pool_threads`` gives a worker
process, even if all of them are in the same one.

Related options:

* ``max_concurrent``
* ``max_waiting_per_project``
* ``[wsgi] task_pool_threads``
"""),
    cfg.IntOpt(
        'max_waiting_per_project',
        min=0,
        help="""
The number of a project's conversions that may wait for their turn on a host.

It is three quarters of ``max_waiting`` by default, so that one project leaves
places for others.

Related options:

* ``max_waiting``
"""),
    cfg.StrOpt(
        'lock_path',
        help="""
The directory in which the imports of a host keep their tickets.

It must belong to the user that Glance runs as, and no other user may be able
to write to it; the plugin creates it if necessary. It must be local to the
host. The tickets are in a directory below it, whose name depends on the
staging area, so that several Glances can use the same ``lock_path``.

By default, it is the directory ``xs_convert`` beside the staging area, for
example ``/var/lib/glance/xs_convert``. If the directory above the staging area
does not belong to Glance's user, or others can write to it, it is the
directory ``.xs_convert`` inside the staging area. As hosts may share a staging
area, the names below it then also depend on the host's name. In a container
whose host name changes with each start, set this option.

Conversions take turns by their tickets. If Glance is killed, the plugin finds
the interrupted imports by the tickets in this directory and releases their
images. The directory should therefore be on a local file system, and outlive
a restart of Glance, also in a container.

Related options:

* ``max_concurrent``
"""),
    cfg.StrOpt(
        'metrics_file',
        help="""
The file in which to count conversions, failures, bytes and seconds.

All processes of a host add to the same file, in Prometheus' text format, for
example in the directory that node_exporter's textfile collector reads. The
name must end in ``.prom``, and Glance's user must be able to write to the
directory. This requires ``prometheus_client``, which the package's extra
``metrics`` installs. By default, nothing is counted.
"""),
    cfg.IntOpt(
        'max_virtual_size',
        default=_DEFAULTS.max_virtual_size // units.Gi,
        min=1,
        help="""
The size of the largest disk to convert, in GiB.

An image whose disk, or any layer of it, is larger is refused before
anything is written. The default is the largest size that the VHD format
allows. Glance's own limits, ``image_size_cap`` and ``user_storage_quota``,
apply to the disk as well.
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

Small archives get less: 20 seconds plus ten seconds per MiB.
"""),
    cfg.IntOpt(
        'max_time',
        default=24 * 3600,
        min=0,
        help="""
The time that a conversion may take, in seconds; 0 for no limit.

The plugin stops a conversion that takes longer, whatever progress it reports,
so that it does not keep its turn forever. Small archives get less: ten minutes
plus five minutes per MiB.
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
    cfg.IntOpt(
        'niceness',
        default=19,
        min=0,
        max=19,
        help="""
How far conversions step back behind Glance's requests; 0 for not at all.

With the default, they take little but idle time of the processors. On hosts
that are always busy, conversions are faster with a lower number, and requests
slower.
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


#: The group of the plugin that adapts guests.
ADAPT_GROUP = 'xs_adapt'

ADAPT_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        'when',
        default='asked',
        choices=[
            ('asked', 'if the image has the property xs_adapt=true'),
            ('always', 'unless the image has the property xs_adapt=false'),
        ],
        help="""
Which of the images that xs_convert converts to adapt to KVM.

Adapting changes files on the guest's disk. With ``always``, a disk without an
operating system is stored as it is, whatever ``on_failure`` says.
"""),
    cfg.BoolOpt(
        'raw_images',
        default=False,
        help="""
Also adapt raw images that were not converted, if they have the property
xs_adapt=true.

Their disks come from users who have made them outside of this service, for
example with ``glance-xs-convert convert``.
"""),
    cfg.StrOpt(
        'on_failure',
        default='keep',
        choices=[
            ('keep', 'store the guest as it is; the property '
                     'xs_convert_not_adapted says why'),
            ('refuse', 'let the import fail'),
        ],
        help="""
What to do with a guest that cannot be adapted.

A guest that is kept gets the devices that XenServer emulated for it if it has
an operating system but cannot be given drivers for virtio.
"""),
    cfg.StrOpt(
        'tool',
        default='virt-v2v-in-place',
        help="""
The program that adapts guests: virt-v2v-in-place, as a name or a path.
"""),
    cfg.StrOpt(
        'inspector',
        default='virt-inspector',
        help="""
The program that describes guests: virt-inspector, as a name or a path.
"""),
    cfg.StrOpt(
        'virtio_win',
        help="""
The drivers for Windows: the directory or the ISO image of virtio-win.

By default, virt-v2v looks for them in ``/usr/share/virtio-win``. Without them,
Windows gets emulated devices.
"""),
    cfg.IntOpt(
        'max_time',
        default=3600,
        min=0,
        help="""
The time that adapting a guest may take, in seconds; 0 for no limit.

With KVM it takes a minute or two; without, many minutes.
"""),
    cfg.IntOpt(
        'start_timeout',
        default=120,
        min=5,
        help="""
The time in which libguestfs' virtual machine must start with KVM, in seconds.

If it does not, it is tried once more without KVM, where it may take five times
as long.
"""),
    cfg.IntOpt(
        'memory',
        default=1280,
        min=512,
        help="""
The memory of libguestfs' virtual machine, in MiB.

virt-v2v multiplies it by almost three for a part of its work.
"""),
    cfg.DictOpt(
        'libguestfs',
        default={},
        help="""
Settings of libguestfs: its environment variables and their values.

Only names that begin with ``LIBGUESTFS_`` are accepted.

Possible values:

* a comma-separated list of names and values, for example
  ``LIBGUESTFS_BACKEND_SETTINGS:force_tcg,LIBGUESTFS_CACHEDIR:/var/lib/guestfs``
"""),
    cfg.StrOpt(
        'scratch_path',
        help="""
The directory for scratch files; by default the one for temporary files.

They are small, but sockets are among them, so the path must be short. What the
tools change on a guest's disk goes to the staging area first.
"""),
]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return all options of this package, for oslo-config-generator."""
    return [(GROUP, OPTS), (ADAPT_GROUP, ADAPT_OPTS)]


def list_sample_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return Glance's own option that turns the plugin on.

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
``xs_adapt`` must come after ``xs_convert`` and before ``image_conversion``.
""")])]


def lock_path(group: cfg.ConfigOpts.GroupAttr, staging: str) -> str:
    """Return the directory in which imports keep their tickets.

    By default, no other user can create it first.

    :param group: ``CONF.xs_convert``
    :param staging: the staging area
    """
    if group.lock_path:
        return str(group.lock_path)
    staging = os.path.realpath(staging)
    above = os.path.dirname(staging)
    if _is_own(above):
        return os.path.join(above, GROUP)
    return os.path.join(staging, f'.{GROUP}')


def _is_own(directory: str) -> bool:
    """Whether this user alone can create files in a directory."""
    try:
        found = os.stat(directory)
    except OSError:
        return False
    return (found.st_uid == os.geteuid()
            and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def limits_of(group: cfg.ConfigOpts.GroupAttr) -> image_limits.Limits:
    """Return the converter's limits as configured.

    :param group: ``CONF.xs_convert``
    """
    return image_limits.Limits(
        max_virtual_size=group.max_virtual_size * units.Gi,
        size_limit='max_virtual_size',
        max_chain_length=group.max_chain_length)


def missing_for_uploads(import_methods: Collection[str],
                        import_plugins: Collection[str]) -> str | None:
    """Return what keeps the upload filter from importing, or None.

    :param import_methods: Glance's enabled_import_methods
    :param import_plugins: Glance's image_import_plugins
    """
    if terms.DIRECT not in import_methods:
        return f'{terms.DIRECT} is not among the enabled_import_methods'
    if PLUGIN not in import_plugins:
        return f'{PLUGIN} is not among the image_import_plugins'
    return None
