#!/usr/bin/env bash
# Checks form: layout by clang-format, clang-tidy, the include arrows, links, scripts and planted bugs.
#
#   scripts/check.sh            everything
#   scripts/check.sh --quick    all but clang-tidy
#   scripts/check.sh --fix      lays out the C++ and CUDA files first (clang-format -i)
#
# One line a finding, path:line: message, and a summary; exit code 1 if there is any. clang-tidy's
# verdict on a file is kept in build/lint until the file or one it includes changes.
set -euo pipefail
cd "$(dirname "$0")/.."

quick=false
fix=false
for argument in "$@"; do
  case $argument in
    --quick) quick=true ;;
    --fix) fix=true ;;
    -h | --help)
      sed -n '2,9s/^# \{0,1\}//p' scripts/check.sh
      exit 0
      ;;
    *)
      printf 'check.sh: error: unknown option %s; known: --quick, --fix, --help\n' "$argument" >&2
      exit 2
      ;;
  esac
done

# The files of these names that git tracks or would, but for those that are deleted.
files() {
  git ls-files --cached --others --exclude-standard -- "$@" | sort -u | while read -r file; do
    [[ ! -e $file ]] || printf '%s\n' "$file"
  done
}
mapfile -t sources < <(files '*.h' '*.cpp' '*.cuh' '*.cu')
mapfile -t scripts < <(files '*.sh' '*.sbatch' .ci/run)
mapfile -t pages < <(files '*.md')

findings=$(mktemp)
trap 'rm -f "$findings"' EXIT

check_format() {
  local tool
  for tool in clang-format-14 clang-format; do
    command -v "$tool" > /dev/null || continue
    [[ $("$tool" --version) == *'version 14.'* ]] || continue
    $fix && "$tool" -i "${sources[@]}"
    "$tool" --dry-run "${sources[@]}" 2>&1 |
      sed -nE 's/^([^:]+:[0-9]+):[0-9]+: (warning|error): .*/\1: not laid out as clang-format 14 does; scripts\/check.sh --fix/p' |
      sort -u
    return
  done
  echo 'scripts/check.sh:1: clang-format 14 not found, layout not checked; scripts/setup.sh --check installs it'
}

check_layout() {
  awk -f scripts/check/layout.awk "${sources[@]}"
  local lines
  lines=$(wc -l < CMakeLists.txt)
  ((lines <= 150)) || echo "CMakeLists.txt:$lines: the root file stays under 150 lines; move parts into folders"
}

# Every source is part of a target: it is compiled, or (where the compiler is missing) listed.
check_targets() {
  local commands=build/lint/compile_commands.json source
  for source in "${sources[@]}"; do
    case $source in
      *.cpp) grep -qF "/$source\"" "$commands" || echo "$source:1: compiled by no target; list it in a CMakeLists.txt" ;;
      *.cu) grep -qwF "$(basename "$source")" kernels/cuda/sources.cmake kernels/CMakeLists.txt || echo "$source:1: compiled by no target; list it in kernels/cuda/sources.cmake" ;;
    esac
  done
}

check_links() {
  [[ ${#pages[@]} -gt 0 ]] || return 0
  local path line target
  awk -f scripts/check/links.awk "${pages[@]}" | while IFS=: read -r path line target; do
    [[ -e $(dirname "$path")/$target ]] || echo "$path:$line: link to $target, which does not exist"
  done
}

check_scripts() {
  command -v shellcheck > /dev/null || {
    echo 'scripts/check.sh:1: shellcheck not found; scripts/setup.sh --check installs it'
    return
  }
  # gcc's format is path:line:column: level: message.
  shellcheck --format=gcc "${scripts[@]}" | sed -E 's/^([^:]+:[0-9]+):[0-9]+: [a-z]+: /\1: /' || true
}

# Runs check NAME, shows and keeps its findings.
run() {
  local started=$SECONDS before after
  before=$(wc -l < "$findings")
  "check_$1" | tee -a "$findings"
  after=$(wc -l < "$findings")
  printf '%-8s %3d findings %4d s\n' "$1" $((after - before)) $((SECONDS - started)) >&2
}

# Planted bugs whose text is no longer in their source.
check_mutants() {
  scripts/mutation.py --check 2>&1 > /dev/null | grep -v '^mutation.py: ' || true
}

check_lint() {
  scripts/check/lint.py build/lint
}

# A list of what is compiled, each source by itself; an old one would miss new files.
cmake --preset cpu -B build/lint -D CMAKE_UNITY_BUILD=OFF > /dev/null
run format
run layout
run targets
run links
run scripts
run mutants
$quick || run lint

count=$(wc -l < "$findings")
if ((count > 0)); then
  echo "check.sh: $count findings in ${#sources[@]} source files, ${#scripts[@]} scripts, ${#pages[@]} pages"
  exit 1
fi
echo "check.sh: no findings in ${#sources[@]} source files, ${#scripts[@]} scripts, ${#pages[@]} pages"
