#!/bin/bash
#
# devstack/plugin.sh
# Installs glance-xs-convert beside Glance and switches it on.
#
# Dependencies:
#
# - functions of DevStack: die, echo_summary, iniset, install_package,
#   is_service_enabled, is_ubuntu, pip_uninstall, setup_develop
# - GLANCE_IMAGE_IMPORT_CONF and GLANCE_API_PASTE_INI of lib/glance
# - the variables in devstack/settings

# Save trace setting
_XTRACE_GLANCE_XS_CONVERT=$(set +o | grep xtrace)
set +o xtrace

# is_glance_xs_convert_adapting() - Whether guests are adapted to KVM
function is_glance_xs_convert_adapting {
    [[ ",${GLANCE_XS_CONVERT_PLUGINS// /}," == *,xs_adapt,* ]]
}

# install_glance_xs_convert() - Install the package where Glance is
function install_glance_xs_convert {
    local extras=()
    if [[ -n "$GLANCE_XS_CONVERT_METRICS_FILE" ]]; then
        extras=(metrics)
    fi
    setup_develop "$GLANCE_XS_CONVERT_DIR" "${extras[@]}"
    if is_glance_xs_convert_adapting; then
        install_glance_xs_convert_tools
    fi
}

# install_glance_xs_convert_tools() - Install what adapts guests
function install_glance_xs_convert_tools {
    if ! is_ubuntu; then
        install_package virt-v2v guestfs-tools nbdkit qemu-img
        return
    fi
    install_package virt-v2v guestfs-tools nbdkit qemu-utils
    # libguestfs starts the kernel of the host, which Ubuntu lets only root
    # read.
    sudo chmod a+r /boot/vmlinuz-*
}

# configure_glance_xs_convert() - Write the options of imports
function configure_glance_xs_convert {
    iniset "$GLANCE_IMAGE_IMPORT_CONF" image_import_opts \
        image_import_plugins "[$GLANCE_XS_CONVERT_PLUGINS]"
    iniset "$GLANCE_IMAGE_IMPORT_CONF" xs_convert \
        remove_properties "$GLANCE_XS_CONVERT_REMOVE_PROPERTIES"
    if [[ -n "$GLANCE_XS_CONVERT_METRICS_FILE" ]]; then
        iniset "$GLANCE_IMAGE_IMPORT_CONF" xs_convert \
            metrics_file "$GLANCE_XS_CONVERT_METRICS_FILE"
    fi
    if [[ "$GLANCE_XS_CONVERT_UPLOAD_FILTER" == "True" ]]; then
        configure_glance_xs_convert_upload_filter
    fi
}

# configure_glance_xs_convert_upload_filter() - Put the filter before the API
function configure_glance_xs_convert_upload_filter {
    # The pipelines are lines such as "keystone = ... context rootapp".
    sed -i -e '/^keystone/ s/ xs_convert_upload rootapp$/ rootapp/' \
        -e '/^keystone/ s/ rootapp$/ xs_convert_upload rootapp/' \
        "$GLANCE_API_PASTE_INI"
    if ! grep -q '^keystone.* xs_convert_upload rootapp$' \
            "$GLANCE_API_PASTE_INI"; then
        die $LINENO "$GLANCE_API_PASTE_INI has no pipeline that ends in rootapp"
    fi
    iniset "$GLANCE_API_PASTE_INI" filter:xs_convert_upload \
        paste.filter_factory glance_xs_convert.plugin.upload_filter:filter_factory
}

# cleanup_glance_xs_convert() - Remove the package; clean.sh removes the rest
function cleanup_glance_xs_convert {
    pip_uninstall glance-xs-convert
}

if is_service_enabled g-api; then
    case "${1:-} ${2:-}" in
        "stack install")
            echo_summary "Installing glance-xs-convert"
            install_glance_xs_convert
            ;;
        "stack post-config")
            echo_summary "Configuring glance-xs-convert"
            configure_glance_xs_convert
            ;;
        clean*)
            cleanup_glance_xs_convert
            ;;
    esac
fi

# Restore xtrace
$_XTRACE_GLANCE_XS_CONVERT
