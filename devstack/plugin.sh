#!/bin/bash
#
# devstack/plugin.sh
# Installs glance-xs-convert beside Glance and switches it on.
#
# Dependencies:
#
# - functions of DevStack: iniset, ini_has_option, setup_develop
# - GLANCE_IMAGE_IMPORT_CONF and GLANCE_API_PASTE_INI of lib/glance
# - the variables in devstack/settings

# Save trace setting
_XTRACE_GLANCE_XS_CONVERT=$(set +o | grep xtrace)
set +o xtrace

# install_glance_xs_convert() - Install the package where Glance is
function install_glance_xs_convert {
    setup_develop "$GLANCE_XS_CONVERT_DIR"
}

# configure_glance_xs_convert() - Write the options of imports
function configure_glance_xs_convert {
    iniset "$GLANCE_IMAGE_IMPORT_CONF" image_import_opts \
        image_import_plugins "[$GLANCE_XS_CONVERT_PLUGINS]"
    iniset "$GLANCE_IMAGE_IMPORT_CONF" xs_convert \
        remove_properties "$GLANCE_XS_CONVERT_REMOVE_PROPERTIES"
    if [[ "$GLANCE_XS_CONVERT_UPLOAD_FILTER" == "True" ]]; then
        configure_glance_xs_convert_upload_filter
    fi
}

# configure_glance_xs_convert_upload_filter() - Put the filter before the API
function configure_glance_xs_convert_upload_filter {
    iniset "$GLANCE_API_PASTE_INI" filter:xs_convert_upload \
        paste.filter_factory glance_xs_convert.plugin.upload_filter:filter_factory
    # The pipelines are lines such as "keystone = ... context rootapp".
    sed -i -e '/^keystone/ s/ xs_convert_upload rootapp$/ rootapp/' \
        -e '/^keystone/ s/ rootapp$/ xs_convert_upload rootapp/' \
        "$GLANCE_API_PASTE_INI"
}

if is_service_enabled g-api; then
    if [[ "$1" == "stack" && "$2" == "install" ]]; then
        echo_summary "Installing glance-xs-convert"
        install_glance_xs_convert
    elif [[ "$1" == "stack" && "$2" == "post-config" ]]; then
        echo_summary "Configuring glance-xs-convert"
        configure_glance_xs_convert
    fi
fi

# Restore xtrace
$_XTRACE_GLANCE_XS_CONVERT
