#!/usr/bin/env bash
# shellcheck disable=SC2016,SC2317
# Installs the packages of a build where nothing else is, and tries them: makes the .deb and the .tar.zst by
# CPack, and two minimal systems of this machine's own release by debootstrap.
#
#   sudo scripts/package/try_bare_root.sh [BUILD]     a built folder; build/cpu without one
#
# In the first system apt installs the .deb and what it depends on; in the second the .tar.zst is unpacked in
# /opt beside the libraries of docs/install.md. In both the program trains a tokenizer and two steps; then the
# package is removed, and nothing of it may be left. Downloads about 150 MB from the mirror of apt's own sources.
#
# Mounts and processes live in namespaces of their own, which end with the script however it ends; the systems
# are folders under TMPDIR or /tmp, and are deleted.
set -euo pipefail
repository=$(realpath "$(dirname "$0")/../..")

fail() {
  printf 'try_bare_root.sh: error: %s\n' "$1" >&2
  exit 1
}
say() { printf '== %s\n' "$*"; }

# in_root ROOT COMMAND...: runs in the system with an environment of its own.
in_root() {
  local root=$1
  shift
  env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    DEBIAN_FRONTEND=noninteractive ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
    chroot "$root" "$@"
}

# "URI SUITE COMPONENT" of this release's packages, the release itself first.
sources() {
  apt-get indextargets --format "\$(REPO_URI) \$(RELEASE) \$(COMPONENT) \$(ORIGIN)" 'Created-By: Packages' |
    awk -v release="$release" -v origin="$ID" \
      'tolower($4) == origin && index($2, release) == 1 { print length($2), $1, $2, $3 }' | sort -n -u | cut -d ' ' -f 2-
}

make_root() {
  local root=$1 mirror components
  mirror=$(sources | sed -n '1s/ .*//p')
  [[ -n $mirror ]] || fail "apt has no source of $ID $release; see apt-get indextargets"
  components=$(sources | awk -v mirror="$mirror" '$1 == mirror { print $3 }' | sort -u | paste -s -d ,)
  debootstrap --variant=minbase --components="$components" "$release" "$root" "$mirror" > "$root.log" 2>&1 ||
    fail "debootstrap of $release: $(tail -n 3 "$root.log")"
  sources | sed 's/^/deb /' > "$root/etc/apt/sources.list"
  cp /etc/resolv.conf "$root/etc/resolv.conf"
  in_root "$root" apt-get -qq update
}

# What the kernel lends a system.
mount_kernel() {
  local root=$1
  mount -t proc proc "$root/proc"
  mount --rbind /sys "$root/sys"
  mount --rbind /dev "$root/dev"
}

# All paths of a system but those that apt and the linker keep for themselves.
paths() {
  find "$1" -xdev \( -path "$1/var/lib/dpkg" -o -path "$1/var/lib/apt" -o -path "$1/var/cache" -o -path "$1/var/log" \
    -o -path "$1/proc" -o -path "$1/sys" -o -path "$1/dev" -o -path "$1/etc/ld.so.cache" \) -prune -o -printf '/%P\n' |
    LC_ALL=C sort
}

# use ROOT PREFIX GDA: the program at work, and what is installed beside it.
use() {
  local root=$1 prefix=$2 gda=$3 file
  for file in man/man1/gda.1 bash-completion/completions/gda zsh/site-functions/_gda \
    fish/vendor_completions.d/gda.fish gda/gda.schema.json gda/configs/quickstart.yaml doc/gda/docs/install.md; do
    [[ -s $root$prefix/share/$file ]] || fail "$prefix/share/$file is not installed"
  done
  in_root "$root" "$gda" --version
  mkdir "$root/tmp/job"
  in_root "$root" bash -euo pipefail -c '
    gda=$1 share=$2/share
    cd /tmp/job
    "$gda" config "$share/gda/configs/quickstart.yaml" > config.yaml
    "$gda" tokenizer train --input "$share/doc/gda/docs" --vocab-size 512 --output words
    "$gda" tokenize --input "$share/doc/gda/docs" --tokenizer words.model --output text
    "$gda" train config.yaml "data.sources=[{name: text, path: text, weight: 1}]" data.tokenizer=words.model \
      data.sequence_length=64 model.vocab_size=512 model.num_hidden_layers=1 train.global_batch_size=2 \
      train.micro_batch_size=1 train.steps=2 schedule.warmup_steps=1
    ls runs/quickstart/checkpoints/step-00000002/manifest.json
  ' try "$gda" "$prefix" > "$root.job" 2>&1 || fail "$gda in the bare system: $(tail -n 20 "$root.job")"
  rm -r "$root/tmp/job"
}

# same WHAT BEFORE AFTER: two lists of paths.
same() {
  local difference
  difference=$(diff "$2" "$3" | grep '^[<>]' || true)
  [[ -z $difference ]] || fail "$1: not what was there before (<) but (>):"$'\n'"$(head -n 20 <<< "$difference")"
}

# The command of docs/install.md on the release that it names; elsewhere what the .deb depends on.
install_libraries() {
  local root=$1 words
  words=$(sed -n 's/^sudo apt-get install \(lib.*\) # Debian 12$/\1/p' "$repository/docs/install.md")
  [[ -n $words ]] || fail 'docs/install.md does not name the libraries'
  if [[ $ID == debian && $VERSION_ID == 12 ]]; then
    # shellcheck disable=SC2086
    in_root "$root" apt-get -qq -y --no-install-recommends install $words
  else
    in_root "$root" apt-get -qq -y --no-install-recommends satisfy "$(dpkg-deb --field "$deb" Depends)"
    in_root "$root" apt-get -qq -y --no-install-recommends install zstd
  fi
}

try_deb() {
  local root=$1
  say "$ID $release: apt-get install ./${deb##*/}"
  cp "$deb" "$root/tmp/"
  # Without what it only recommends: the dependencies alone must do.
  in_root "$root" apt-get -qq -y --no-install-recommends install "/tmp/${deb##*/}" > "$root.log" 2>&1 ||
    fail "apt-get install: $(tail -n 5 "$root.log")"
  use "$root" /usr gda
  in_root "$root" apt-get -qq -y purge gda > "$root.log" 2>&1 || fail "apt-get purge: $(tail -n 5 "$root.log")"
  rm "$root/tmp/${deb##*/}"
  in_root "$root" apt-get -qq -y --no-install-recommends install zstd > "$root.log" 2>&1  # as in the other
  paths "$root" > "$root.after"
}

try_archive() {
  local root=$1 name=${archive##*/} folder
  folder=/opt/${name%.tar.zst}
  say "$ID $release: $name in /opt"
  install_libraries "$root" > "$root.log" 2>&1 || fail "libraries: $(tail -n 5 "$root.log")"
  paths "$root" > "$root.before"
  cp "$archive" "$root/tmp/"
  in_root "$root" tar --zstd -xf "/tmp/$name" -C /opt
  use "$root" "$folder" "$folder/bin/gda"
  in_root "$root" bash -euo pipefail -c \
    'cd /opt && tar --zstd -tf "/tmp/$1" | sort -r | xargs -d "\n" rm -d && rmdir "$2"' try "$name" "$folder"
  rm "$root/tmp/$name"
  paths "$root" > "$root.after"
  same "after removing what $name lists" "$root.before" "$root.after"
}

# In the namespaces.
try_all() {
  local work=$1
  say "a minimal $ID $release"
  mkdir "$work/deb"
  make_root "$work/deb"
  cp -a "$work/deb" "$work/archive"
  mount_kernel "$work/deb"
  mount_kernel "$work/archive"
  try_deb "$work/deb"
  try_archive "$work/archive"
  same 'after purging the .deb, beside the libraries alone' "$work/archive.before" "$work/deb.after"
  say 'both packages install, work and leave nothing behind'
}

build=$(realpath "${1:-$repository/build/cpu}")
# shellcheck disable=SC1091
. /etc/os-release
release=${VERSION_CODENAME:-}
[[ -x $build/gda ]] || fail "$build holds no built gda; scripts/build.sh makes it"
deb=$(find "$build/packages" -maxdepth 1 -name 'gda-*.deb' 2> /dev/null | head -n 1)
archive=$(find "$build/packages" -maxdepth 1 -name 'gda-*.tar.zst' 2> /dev/null | head -n 1)
if [[ -n ${GDA_BARE_ROOT:-} ]]; then
  try_all "$GDA_BARE_ROOT"
  exit
fi

[[ $(id -u) -eq 0 ]] || fail 'a system can only be made by root: use sudo'
for tool in debootstrap dpkg-shlibdeps unshare; do
  command -v "$tool" > /dev/null || fail "$tool is missing: apt-get install debootstrap dpkg-dev util-linux"
done
say 'packages by cpack'
cmake --build "$build" --target gda_share > /dev/null
rm -f "$build"/packages/gda-*
(cd "$build" && cpack > packages.log) || fail "cpack: $(tail -n 5 "$build/packages.log")"

work=$(mktemp -d)
child=
# unshare lets SIGTERM pass by; when it is killed, the kernel kills what is in its namespaces, which may take a
# moment.
finish() {
  [[ -z $child ]] || kill -KILL "$child" 2> /dev/null || true
  wait 2> /dev/null || true
  local i
  for ((i = 0; i < 50; ++i)); do
    rm -rf --one-file-system "$work" 2> /dev/null && return
    sleep 0.2
  done
  printf 'try_bare_root.sh: %s cannot be deleted\n' "$work" >&2
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
GDA_BARE_ROOT=$work unshare --mount --pid --fork --kill-child --mount-proc "$0" "$build" &
child=$!
wait "$child" && status=0 || status=$?
child=
exit "$status"
