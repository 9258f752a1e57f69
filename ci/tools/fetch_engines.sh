#!/usr/bin/env bash
# Fetches victoria-metrics, vmagent and vmalert of Debian 13 into a folder, without installing them: Debian 12 has
# neither vmagent nor a version that receives OTLP. Their signatures are checked with the installed keyring.
#
# Usage: fetch_engines.sh FOLDER. Afterwards FOLDER/usr/bin has the programs. DEBIAN_MIRROR is another mirror
# than deb.debian.org.
set -euo pipefail

folder=$(realpath -m "$1")
has_all() {
    [ -x "$folder/usr/bin/victoria-metrics" ] && [ -x "$folder/usr/bin/vmagent" ] &&
        [ -x "$folder/usr/bin/vmalert" ]
}
! has_all || exit 0
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
apt=$(mktemp -d)
trap 'rm -rf "$apt"' EXIT
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$folder"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" \
    >"$apt/sources.list"
cat >"$apt/apt.conf" <<END
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$apt/lists";
Dir::Cache "$apt/cache";
END
export APT_CONFIG=$apt/apt.conf
# apt downloads as a user of its own if it can write there.
chmod 755 "$apt"
apt-get update -qq
(cd "$apt" && apt-get download -qq victoria-metrics)
for package in "$apt"/*.deb; do
    dpkg-deb -x "$package" "$folder"
done
has_all
