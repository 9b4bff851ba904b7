# Prints the relative links of Markdown files, one a line: path:line:target, without anchors.
{
  text = $0
  while (match(text, /\]\([^()]*\)/)) {
    target = substr(text, RSTART + 2, RLENGTH - 3)
    text = substr(text, RSTART + RLENGTH)
    sub(/[ \t]+".*"$/, "", target)
    sub(/#.*$/, "", target)
    if (target != "" && target !~ /^[a-z]+:/) printf "%s:%d:%s\n", FILENAME, FNR, target
  }
}
