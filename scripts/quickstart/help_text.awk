# Documents out of LibreOffice's help pages, as JSON lines: {"text": "title\nparagraph\n..."}.
#
#   awk -v out=FOLDER -f help_text.awk language=en PAGE.html... language=ko PAGE.html...
#
# writes FOLDER/en.jsonl and FOLDER/ko.jsonl. A paragraph is the text of one block of HTML. One that any page has
# had before is left out, so a page in Korean loses what nobody has translated, if the English pages
# come first; short ones ("Example:", "Syntax") are part of many pages and stay.

function decode(s) {
  gsub(/<span[^>]*class="MAC"[^>]*>(<span[^>]*>[^<]*<\/span>|[^<])*<\/span>/, "", s)  # Mac keys
  gsub(/<[^>]*>/, "", s)
  gsub(/&lt;/, "<", s)
  gsub(/&gt;/, ">", s)
  gsub(/&quot;/, "\"", s)
  gsub(/&nbsp;|\302\240/, " ", s)
  gsub(/&amp;/, "\\&", s)
  gsub(/[ \t\r\n]+/, " ", s)
  sub(/^ /, "", s)
  sub(/ $/, "", s)
  return s
}

function json(s) {
  gsub(/\\/, "\\\\\\\\", s)
  gsub(/"/, "\\\"", s)
  gsub(/[\001-\037]/, " ", s)
  return s
}

# Writes the page collected so far, if anything new is left of it.
function finish(    count, i, line, before, kept, fresh) {
  gsub(/<\/(p|h[1-6]|li|td|th|pre|tr|div)>|<(br|p|h[1-6]|li|pre|div)[ >\/]/, "\n&", page)
  count = split(page, lines, "\n")
  kept = ""
  fresh = 0
  for (i = 1; i <= count; ++i) {
    line = decode(lines[i])
    # Cells of tables with nothing but a number in them say little without the table.
    if (line == before || line ~ /^[-+0-9.,;:% ]*$/) continue
    before = line
    if (length(line) >= shortest) {
      if (line in seen) continue
      seen[line] = 1
      fresh += length(line)
    }
    kept = kept (kept == "" ? "" : "\\n") json(line)
  }
  if (fresh >= 2 * shortest) {
    printf "{\"text\": \"%s\"}\n", kept > (out "/" page_language ".jsonl")
  }
  page = ""
}

BEGIN {
  shortest = 40  # bytes
}

FNR == 1 {
  if (page != "") finish()
  page_language = language
  inside = 0
}
/<div id="SearchFrame"/ { inside = 0 }
inside { page = page (verbatim ? "\n" : " ") $0 }
/<pre/ { verbatim = 1 }
/<\/pre>/ { verbatim = 0 }
/<div id="DisplayArea"/ { inside = 1 }
END { finish() }
