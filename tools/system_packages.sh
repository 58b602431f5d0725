#!/bin/sh
# See to it that a window can open without a display: Xvfb, software OpenGL and the libraries Qt loads. As root, also
# that there is a locale with a comma in its numbers, which a test opens a window under.
set -eu
packages="xvfb xauth libgl1 libegl1 libgl1-mesa-dri libxkbcommon-x11-0 libdbus-1-3 libfontconfig1
libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0
libxcb-xinerama0 libxcb-xkb1"

[ "$(uname)" = Linux ] || exit 0
if command -v dpkg-query >/dev/null 2>&1; then
    missing=""
    for package in $packages; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing="$missing $package"
    done
elif command -v xvfb-run >/dev/null 2>&1; then
    missing=""
else
    missing=" $(echo $packages)"
fi
as_root=""
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then as_root=yes; fi
[ -z "$as_root" ] || [ -e /usr/share/i18n/locales/de_DE ] || missing="$missing locales"
if [ -n "$missing" ] && [ -n "$as_root" ]; then
    echo "Installing system packages:$missing"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
elif [ -n "$missing" ]; then
    echo "error: windows without a display need system packages; as root, run: apt-get install$missing" >&2
    exit 1
fi
if [ -n "$as_root" ] && ! locale -a 2>/dev/null | grep -qi '^de_DE\.utf-\{0,1\}8$'; then
    localedef -i de_DE -f UTF-8 de_DE.UTF-8 || echo "note: no German locale, so the test under a comma locale is skipped" >&2
fi
