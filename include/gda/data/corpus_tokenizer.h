// A corpus of text to a token dataset, on all cores.
//
// One thread reads chunks, the others encode them, and the caller writes them in the order in which
// they were read, so the result does not depend on the number of threads. At most about two chunks
// a thread are in memory at once, whatever the size of the input.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "gda/data/corpus.h"
#include "gda/tokenizer/tokenizer.h"

namespace gda {

struct CorpusTokenizerOptions {
  std::vector<CorpusFile> files;
  std::string output;  // prefix of the .bin and .idx that are written
  JsonlOptions jsonl;
  int threads = 0;  // encoding; 0: as many as the machine has
  // When it becomes true, the work is given up with an Error. Null: never.
  const std::atomic<bool>* stop = nullptr;
};

struct CorpusProgress {
  std::int64_t bytes_on_disk = 0;  // read, of total_bytes
  std::int64_t total_bytes = 0;    // 0: unknown, as a stream is read
  std::int64_t text_bytes = 0;     // encoded and written, uncompressed
  std::int64_t documents = 0;
  std::int64_t tokens = 0;
  CorpusDoubts doubts{};
  double seconds = 0;
};

// Encodes every document, with eod after each, and writes the dataset (token_writer.h). `report` is
// called from the calling thread as chunks are done. Throws what reading, encoding and writing
// throw; no dataset appears then.
CorpusProgress tokenize_corpus(const Tokenizer& tokenizer, const CorpusTokenizerOptions& options,
                               const std::function<void(const CorpusProgress&)>& report);

}  // namespace gda
