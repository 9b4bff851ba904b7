// Report of `gda tokenize` and `gda tokenizer train` on the text that they read.
#pragma once

#include <nlohmann/json.hpp>

#include "gda/data/corpus.h"

namespace gda::cli {

// Lines: the files read, those left out and why, what was skipped or is doubtful.
void print_corpus(const Corpus& corpus, const CorpusDoubts& doubts);

// Adds files (how many), read, left_out, skipped_lines, skipped, empty_documents and odd_bytes.
void add_corpus(nlohmann::ordered_json& json, const Corpus& corpus, const CorpusDoubts& doubts);

// The JSON as a line, for names that are not UTF-8, too.
void print_json(const nlohmann::ordered_json& json);

}  // namespace gda::cli
