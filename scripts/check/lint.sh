#!/usr/bin/env bash
# Runs clang-tidy over the host code that BUILD_DIR compiles: scripts/check/lint.sh BUILD_DIR
#
# Prints one line a finding. A file without findings is not looked at again until its compile
# command, clang-tidy's settings, or the file or a header of this repository that it includes change.
set -euo pipefail
build=${1:?usage: scripts/check/lint.sh BUILD_DIR}
cd "$(dirname "$0")/../.."

if ! command -v clang-tidy > /dev/null; then
  echo 'scripts/check/lint.sh:1: clang-tidy not found; scripts/setup.sh --check installs it'
  exit 0
fi

# Headers that the build generates have to be there before clang-tidy reads their users.
generated=$(ninja -C "$build" -t targets all | sed -nE 's/^([^:]+\.pb\.h): .*/\1/p')
# shellcheck disable=SC2086  # one word a header
[[ -z $generated ]] || ninja -C "$build" $generated > /dev/null

lint=$PWD/build/lint
mkdir -p "$lint/clean"
settings=$(clang-tidy --version | cat - .clang-tidy | sha256sum)

# A file that is compiled for several instruction sets is looked at once, as the last of them. What only
# GCC understands is left out: its precompiled headers, and one of its warnings.
awk '
  {
    gsub(/ -Winvalid-pch -include [^ ]*cmake_pch\.hxx/, "")
    gsub(/ -Wno-restrict/, "")
  }
  /^ *"directory":/ { directory = $0 }
  /^ *"command":/ { command = $0 }
  /^ *"file":/ { entry[$0] = directory "\n" command "\n" $0 }
  END {
    printf "["
    for (file in entry) printf "%s\n{\n%s\n}", separator++ ? "," : "", entry[file]
    print "\n]"
  }' "$build/compile_commands.json" > "$lint/compile_commands.json"

lint_file() {
  local source=$1 command headers key output
  command=$(grep -F -B 1 "\"file\": \"$PWD/$source\"" "$lint/compile_commands.json" |
    sed -nE 's/^ *"command": "(.*)",?$/\1/p')
  # The compiler's own list of what the file includes, without system headers.
  headers=$(bash -c "${command%% -o *} -MM $source" 2> /dev/null | tr -d '\\\n' | cut -d: -f2-) || headers=$source
  # shellcheck disable=SC2086  # one word a header
  key=$({ echo "$settings $command"; cat $headers; } | sha256sum | cut -c 1-32)
  [[ -e $lint/clean/$key ]] && return
  output=$(clang-tidy -p "$lint" --quiet "$source" 2> /dev/null | grep -E '^[^ ]+:[0-9]+:[0-9]+: (warning|error):') || true
  if [[ -z $output ]]; then
    touch "$lint/clean/$key"
  else
    sed -E "s#^$PWD/##; s/^([^:]+:[0-9]+):[0-9]+: (warning|error): /\1: /; s/,-warnings-as-errors//" <<< "$output"
  fi
}
export -f lint_file
export lint settings

# shellcheck disable=SC2016  # the inner shell expands $1
sed -nE "s#^ *\"file\": \"$PWD/((src|kernels)/.*\.cpp)\",?\$#\1#p" "$lint/compile_commands.json" | sort |
  xargs -P "$(nproc)" -I {} bash -c 'lint_file "$1"' _ {} | sort -u
