# shellcheck shell=bash disable=SC2154,SC2016
# How scripts/gpu_check.sh runs a program under a limit of time, and the table that it ends with. The
# caller sets `said` (the folder of what programs say), `logs` and `command_line`.

rows=()     # stage | result
notes=()    # its figures, a line each
heading=()  # lines above the table
failures=0
deadline=0

# The processes of a session, but for those that are dead and not yet waited for.
members_of() {
  local stat line fields
  for stat in /proc/[0-9]*/stat; do
    { read -r line < "$stat"; } 2> /dev/null || continue
    # Behind the name, which may hold anything: state, parent, group, session.
    read -ra fields <<< "${line##*) }"
    [[ ${fields[3]} != "$1" || ${fields[0]} == Z ]] || printf '%s ' "${stat//[!0-9]/}"
  done
}

# Ends all processes of a session, with a second for each of the two ways.
end_session() {
  local signal members try
  for signal in TERM KILL; do
    for try in {1..10}; do
      members=$(members_of "$1")
      [[ -n $members ]] || return 0
      # shellcheck disable=SC2086
      ((try > 1)) || kill "-$signal" $members 2> /dev/null || true
      sleep 0.1
    done
  done
}

# limited SECONDS LOG COMMAND...: runs it in a session of its own, for at most so long (code 124), and ends
# what it leaves in that session, also ranks in process groups of their own.
limited() {
  local limit=$1 log=$2 started=$SECONDS code=0
  shift 2
  setsid timeout -k 1 "$limit" "$@" > "$log" 2>&1 < /dev/null &
  session=$!
  wait "$session" || code=$?
  end_session "$session"
  session=
  # timeout ends itself too where it has to kill.
  if ((code == 137 && SECONDS - started >= limit)); then code=124; fi
  return "$code"
}

# begin STAGE SECONDS
begin() {
  deadline=$((SECONDS + $2))
  printf '\n== %s, at most %d s\n' "$1" "$2"
}

add_row() {
  rows+=("$1 | $2")
  notes+=('')
  printf '%-30s %s\n' "$1" "$2"
}

# A figure of the last row.
figure() {
  local last=$((${#rows[@]} - 1))
  notes[last]+=${notes[last]:+$'\n'}$1
  printf '    %s\n' "$1"
}

# step NAME SECONDS COMMAND...: one program of the stage, with a row of its own. Its code is $outcome, what
# it said $said/NAME.log.
step() {
  local name=$1 limit=$2 started=$SECONDS left=$((deadline - SECONDS)) result
  shift 2
  outcome=0
  ((limit <= left)) || limit=$left
  if ((limit < 1)); then
    outcome=124
    failures=$((failures + 1))
    add_row "$name" 'FAILED: the time of its stage was over before it began'
    return
  fi
  limited "$limit" "$said/$name.log" "$@" || outcome=$?
  # Tests without a device are skipped, which is no success here.
  if ((outcome == 0)) && grep -qE 'no CUDA device|this build has no NCCL' "$said/$name.log"; then outcome=1; fi
  case $outcome in
    0) result="passed, $((SECONDS - started)) s" ;;
    124) result="FAILED: not done in $limit s" ;;
    127) result='FAILED: not found' ;;
    *) result="FAILED: exit code $outcome after $((SECONDS - started)) s" ;;
  esac
  add_row "$name" "$result"
  if ((outcome != 0)); then
    failures=$((failures + 1))
    tail -n 12 "$said/$name.log" | cut -c 1-300 | sed 's/^/    | /'
  fi
}

# What cannot be run here, and why.
skip() {
  add_row "$1" "skipped: $2"
}

# The lines of a command as figures of the last row.
figures_of() {
  local line
  while IFS= read -r line; do figure "$line"; done < <("$@" 2> /dev/null)
}

write_table() {
  local i head line
  printf '%s\n' "${heading[@]}"
  printf '\n```sh\n%s\n```\n\n' "$command_line"
  printf '| stage | result | figures |\n|---|---|---|\n'
  for i in "${!rows[@]}"; do
    head=${rows[i]}
    while IFS= read -r line; do
      printf '| %s | %s |\n' "$head" "$line"
      head=' | '
    done <<< "${notes[i]//|/\/}"
  done
}

# The table so far, and all that was said, but for what is very large, as one file that is whole at any time.
# What still changes, or a disk that is full, is no reason to stop.
pack_said() {
  write_table > "$logs/table.md" || true
  (cd "$said" && find . -type f -size -8192k) | tar -czf "$logs/.said" -C "$said" -T - 2> /dev/null || true
  mv "$logs/.said" "$logs/said.tar.gz" || true
}
