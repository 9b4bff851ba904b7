# Takes a page of Markdown apart for documents_test.sh:
#
#   awk -v page=README.md -v out=FOLDER -f blocks.awk README.md
#
# writes the contents of its sh and yaml blocks to FOLDER/LINE.sh and FOLDER/LINE.yaml, and lists them in order of
# lines: "sh LINE", "rehearse LINE" for a block below <!-- not run: WHY -->, "yaml LINE". A command in running text, as
# `gda eval ppl RUN`, is "inline LINE COMMAND"; a file of configs/ or scripts/ is "path LINE FILE"; a setting is
# "key LINE KEY".

function fail(message) {
  printf "%s:%d: %s\n", page, FNR, message > "/dev/stderr"
  failed = 1
}

BEGIN {
  section = "`(model|data|optimizer|schedule|train|parallel|precision|growth|checkpoint|eval|logging)"
}

/^<!-- not run: .+ -->$/ { reason = FNR; next }
/^```/ {
  if (inside) {
    if (file != "") close(file)
    inside = 0
    next
  }
  inside = 1
  language = substr($0, 4)
  file = ""
  kind = language == "yaml" ? "yaml" : language != "sh" ? "" : reason == FNR - 1 ? "rehearse" : "sh"
  if (reason == FNR - 1 && kind != "rehearse") fail("\"not run\" is for sh blocks")
  if (kind == "") next
  file = out "/" FNR "." language
  printf "" > file
  print kind, FNR
  next
}
inside {
  if (file != "") print > file
  next
}
reason && reason == FNR - 1 { fail("\"not run\" belongs directly above a block") }
{
  rest = $0
  while (match(rest, /`gda [^`]*`/)) {
    print "inline", FNR, substr(rest, RSTART + 1, RLENGTH - 2)
    rest = substr(rest, RSTART + RLENGTH)
  }
  rest = $0
  while (match(rest, /`(configs|scripts)\/[^` ]*/)) {
    print "path", FNR, substr(rest, RSTART + 1, RLENGTH - 1)
    rest = substr(rest, RSTART + RLENGTH)
  }
}
{
  rest = $0
  gsub(/formerly `[^`]*`/, "", rest)
  while (match(rest, section "\\.[a-z][][a-z_.0-9]*[`=:]")) {
    key = substr(rest, RSTART + 1, RLENGTH - 2)
    if (key !~ /\.(json|yaml|model|safetensors|cuda)$/ && !(key in keys)) print "key", FNR, key
    keys[key] = 1
    rest = substr(rest, RSTART + RLENGTH)
  }
}
END {
  if (inside) fail("a block is not closed")
  exit failed
}
