#!/usr/bin/env bash
# Asks a shell itself what it completes after the script of `gda completion`.
#   completion_test.sh GDA SHELL
# Exit code 77 where the shell is not installed.
set -uo pipefail
gda=$(realpath "$1")
shell=$2
command -v "$shell" > /dev/null || exit 77
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/here/a folder" "$work/bin" "$work/home"
ln -s "$gda" "$work/bin/gda"
: > "$work/here/corpus.txt"
export PATH=$work/bin:$PATH HOME=$work/home TERM=dumb
export XDG_CONFIG_HOME=$work/home/config XDG_DATA_HOME=$work/home/data
cd "$work/here" || exit 1
"$gda" completion "$shell" > "$work/script" || exit 1

# line_of_terminal LINE COMMAND: the line that an interactive shell makes of this one at the tab key. The key
# after it, Ctrl-X, is bound to a widget that writes the line to a file and ends the shell, so that nothing has
# to be read from a screen, and no moment has to be waited for: keys that come early are kept by the terminal.
line_of_terminal() {
  rm -f "$work/line" "$work/keys"
  mkfifo "$work/keys"
  exec 3<> "$work/keys"  # for reading and writing, so that there is no end of input
  printf '%s\t\030' "$1" >&3
  timeout 60 script -qec "$2" /dev/null <&3 > "$work/screen" 2>&1
  exec 3>&-
  cat "$work/line"
}
line_of_bash() {
  cat > "$work/rc" << END
PS1=
source '$work/script'
write_line() { printf '%s\n' "\$READLINE_LINE" > '$work/line'; exit; }
bind -x '"\C-x": write_line'
END
  line_of_terminal "$1" "bash --noprofile --rcfile '$work/rc' -i"
}
line_of_zsh() {
  cat > "$work/home/.zshrc" << END
PS1=
unsetopt prompt_sp zle_bracketed_paste 2> /dev/null
autoload -U compinit
compinit -u -d '$work/home/dump'
source '$work/script'
write-line() { print -r -- "\$BUFFER" > '$work/line'; exit; }
zle -N write-line
bindkey -e
bindkey '^X' write-line
END
  line_of_terminal "$1" "env ZDOTDIR='$work/home' zsh -d -i"
}
# fish lists candidates; one alone is the rest of the line.
line_of_fish() {
  mkdir -p "$XDG_CONFIG_HOME/fish/completions"
  cp "$work/script" "$XDG_CONFIG_HOME/fish/completions/gda.fish"
  local found
  found=$(fish -c "complete -C '$1'" 2>&1 | cut -f 1)
  if [[ -z $found || $found == *$'\n'* ]]; then printf '%s\n' "$1"; else printf '%s %s\n' "${1% *}" "$found"; fi
}

failures=0
# completes LINE EXPECTED: LINE as it stands after the tab key, but for blanks at its end.
completes() {
  local line
  line=$("line_of_$shell" "$1" | sed 's/[ \\]*$//')
  [[ $line == "$2" ]] && return
  printf 'FAILED: %s: "%s" became "%s", expected "%s"\n' "$shell" "$1" "$line" "$2"
  failures=$((failures + 1))
}
completes 'gda resu' 'gda resume'
completes 'gda grow wi' 'gda grow width'
completes 'gda help grow wi' 'gda help grow width'
completes 'gda grow width --hid' 'gda grow width --hidden-factor'
completes 'gda grow width --seed 3 --hid' 'gda grow width --seed 3 --hidden-factor'
completes 'gda grow width --heads m' 'gda grow width --heads multiply'
completes 'gda train --device cu' 'gda train --device cuda'
completes 'gda train --device=cu' 'gda train --device=cuda'
completes 'gda eval ppl --precision b' 'gda eval ppl --precision bf16'
completes 'gda completion z' 'gda completion zsh'
completes 'gda train cor' 'gda train corpus.txt'
completes 'gda tokenize --input cor' 'gda tokenize --input corpus.txt'
completes 'gda tokenize --input=cor' 'gda tokenize --input=corpus.txt'
# Nothing where a command, a number or a known word is wanted: no file either.
completes 'gda corp' 'gda corp'
completes 'gda grow corp' 'gda grow corp'
completes 'gda train --device cor' 'gda train --device cor'
completes 'gda tokenize --threads cor' 'gda tokenize --threads cor'
completes 'gda version cor' 'gda version cor'
((failures == 0))
