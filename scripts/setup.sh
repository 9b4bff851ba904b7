#!/usr/bin/env bash
# Installs what gda builds with and is missing here, from the packages of Debian 12 or Ubuntu 24.04.
#
#   scripts/setup.sh            compilers and libraries
#   scripts/setup.sh --check    also the formatter and linters of scripts/check.sh
#   scripts/setup.sh --interop  also what some tests need: Python, shells
#   scripts/setup.sh --list     only prints the packages
#
# Uses sudo unless it runs as root. Does nothing, and needs no network, when all is there.
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache pkg-config
  libdnnl-dev ocl-icd-opencl-dev            # oneDNN: matrix products; its CMake package asks for OpenCL
  libopenmpi-dev openmpi-bin                # many processes
  libyaml-cpp-dev libcli11-dev nlohmann-json3-dev
  libspdlog-dev libfmt-dev
  libsentencepiece-dev libprotobuf-dev      # tokenizers; newer packages of SentencePiece ask for protobuf
  libxxhash-dev zlib1g-dev
  libgtest-dev libbenchmark-dev
  libboost-context-dev                      # tests: threads of the emulated GPU
)
# clang-format lays out code differently from version to version, so it is always 14's here.
check_packages=(clang-format-14 clang-tidy shellcheck)

# Of PyPI, where Debian has none; into build/tools/python, which the tests look into.
autograd=autograd==1.9.1

fail() {
  printf 'setup.sh: error: %s\n' "$1" >&2
  exit 1
}

only_list=false
interop=false
for argument in "$@"; do
  case $argument in
    --interop)
      interop=true
      packages+=(python3 python3-numpy python3-pip python3-xxhash python3-jsonschema python3-yaml zsh fish)
      ;;
    --check) packages+=("${check_packages[@]}") ;;
    --list) only_list=true ;;
    -h | --help)
      sed -n '2,9s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *)
      printf 'setup.sh: error: unknown option %s; known: --check, --interop, --list, --help\n' "$argument" >&2
      exit 2
      ;;
  esac
done
if $only_list; then
  printf '%s\n' "${packages[@]}"
  exit 0
fi

{ command -v apt-get && command -v dpkg-query; } > /dev/null || fail \
  "this script knows Debian 12 and Ubuntu 24.04 only. Elsewhere install the counterparts of: ${packages[*]}"

is_installed() {
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2> /dev/null) == installed ]]
}

install_autograd() {
  local folder
  folder=$(dirname "$0")/../build/tools/python
  [[ -d $folder/autograd ]] && return
  printf 'setup.sh: installing %s\n' "$autograd"
  /usr/bin/python3 -m pip install --quiet --no-deps --root-user-action=ignore --target "$folder" "$autograd" ||
    fail "pip could not install $autograd, with which tests/interop/training_judge.py takes gradients"
}

missing=()
for package in "${packages[@]}"; do
  is_installed "$package" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  if $interop; then install_autograd; fi
  exit 0
fi

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo > /dev/null || fail \
    "missing packages, and neither root nor sudo is at hand. As root: apt-get install ${missing[*]}"
  as_root=(sudo)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
run_apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 \
    -o Acquire::Retries=2 -o DPkg::Lock::Timeout=120 "$@" > "$log" 2>&1
}
printf 'setup.sh: installing %s\n' "${missing[*]}"
# A failed update still leaves the lists of before, which may be enough.
run_apt update || printf 'setup.sh: warning: apt-get update failed: %s\n' "$(tail -n 1 "$log")" >&2
if ! run_apt install -y --no-install-recommends "${missing[@]}"; then
  cat "$log" >&2
  fail "apt-get could not install: ${missing[*]}. \
Is the network there, and is this Debian 12 or Ubuntu 24.04 (with 'universe')?"
fi
if $interop; then install_autograd; fi
