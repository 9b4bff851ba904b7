#include "gda/data/corpus.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <atomic>

#include "data/scratch.h"
#include "gda/data/corpus_tokenizer.h"

namespace gda {
namespace {
using test::message_of;
using test::scratch_folder;

std::filesystem::path write(const std::filesystem::path& path, std::string_view text) {
  write_text_file_atomically(path, text);
  return path;
}

std::filesystem::path write_gzip(const std::filesystem::path& path, const std::string& text) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
  return path;
}

// The documents of a file, put together again from their pieces.
std::vector<std::string> documents(const std::filesystem::path& path, std::string_view format,
                                   const JsonlOptions& options = {}) {
  CorpusReader reader(find_corpus_files({path.string()}, format));
  std::vector<std::string> found;
  bool inside = false;
  TextChunk chunk;
  while (reader.next(chunk)) {
    EXPECT_LE(chunk.text.size(), 2 * CorpusReader::kChunkBytes);
    for_each_document(chunk, reader.files()[chunk.file], options, [&](const DocumentPiece& piece) {
      EXPECT_EQ(piece.continues, inside);
      if (!inside) found.emplace_back();
      found.back() += piece.text;
      inside = !piece.ends;
    });
  }
  EXPECT_FALSE(inside);
  EXPECT_EQ(reader.bytes_on_disk(), static_cast<std::int64_t>(std::filesystem::file_size(path)));
  return found;
}

std::string long_text(std::size_t size, std::string_view unit) {
  std::string text;
  while (text.size() < size) text += unit;
  return text;
}

using Documents = std::vector<std::string>;

TEST(Corpus, ReadsEachFormat) {
  const auto folder = scratch_folder();
  const auto text = write(folder / "a.txt", "one\ntwo\r\n \nthree");
  EXPECT_EQ(documents(text, "auto"), (Documents{"one\ntwo\r\n \nthree"}));
  EXPECT_EQ(documents(text, "text-line"), (Documents{"one", "two", "three"}));
  const auto json = write(folder / "a.jsonl",
                          "{\"text\": \"one\\n\\u00e9\"}\n\n{\"id\": 1, \"text\": \"two\"}\n"
                          "{\"text\": \"\"}\n{\"text\": \"three\"}");
  EXPECT_EQ(documents(json, "auto"), (Documents{"one\n\xC3\xA9", "two", "three"}));
}

TEST(Corpus, ReadsGzip) {
  const auto folder = scratch_folder();
  EXPECT_EQ(documents(write_gzip(folder / "a.txt.gz", "one\ntwo"), "auto"),
            (Documents{"one\ntwo"}));
  EXPECT_EQ(documents(write_gzip(folder / "a.jsonl.gz", "{\"t\": \"one\"}\n"), "auto",
                      {.key = "t", .skip_bad_lines = false}),
            (Documents{"one"}));
}

TEST(Corpus, HandsOnLongDocumentsInPieces) {
  const auto folder = scratch_folder();
  const std::size_t size = 3 * CorpusReader::kChunkBytes + 12345;
  const std::vector<std::string> texts{
      long_text(size, "many lines\n"), long_text(size, "many words "),
      long_text(size, "\xEB\xB9\x84\xED\x96\x89"),
      // After a text that is long enough to be told by: bytes of no character.
      long_text(size / 2, "words ") + long_text(size / 2, "\x80\xFF"),
      std::string(2 * CorpusReader::kChunkBytes, 'x')};
  for (const auto& text : texts) {
    EXPECT_EQ(documents(write(folder / "a.txt", text), "text-file"), Documents{text});
  }
  const std::string lines = "short\n" + texts[1] + "\nlast\n";
  EXPECT_EQ(documents(write(folder / "b.txt", lines), "text-line"),
            (Documents{"short", texts[1], "last"}));
  const std::string json = "{\"text\": \"" + texts[1] + "\"}\n";
  CorpusReader reader(find_corpus_files({write(folder / "c.jsonl", json + json)}, "auto"));
  TextChunk chunk;
  ASSERT_TRUE(reader.next(chunk));
  EXPECT_EQ(chunk.text, json);
  ASSERT_TRUE(reader.next(chunk));
  EXPECT_EQ(chunk.first_line, 2);
}

TEST(Corpus, CutsPiecesWhereTokensEnd) {
  const auto folder = scratch_folder();
  const auto first_piece = [&](const std::string& text) {
    CorpusReader reader(find_corpus_files({write(folder / "a.txt", text)}, "text-file"));
    TextChunk chunk;
    EXPECT_TRUE(reader.next(chunk));
    return chunk.text;
  };
  const std::size_t size = 3 * CorpusReader::kChunkBytes;
  EXPECT_TRUE(first_piece(long_text(size, "many lines\n")).ends_with("lines\n"));
  EXPECT_TRUE(first_piece(long_text(size, "two  spaces")).ends_with("two"));
  EXPECT_EQ(first_piece(long_text(size, "\xEB\xB9\x84")).size() % 3, 0U);
}

TEST(Corpus, SaysWhatIsWrong) {
  const auto folder = scratch_folder();
  const auto read_error = [](const std::filesystem::path& path, const JsonlOptions& options = {}) {
    return message_of<FormatError>([&] { documents(path, "auto", options); });
  };
  EXPECT_EQ(message_of<IoError>([] { find_corpus_files({"/nonexistent"}, "auto"); }),
            "cannot open /nonexistent: no such file or folder");
  EXPECT_CONTAINS(message_of<ConfigError>([] { find_corpus_files({"/tmp"}, "lines"); }),
                  "expected auto, text-file, text-line or jsonl, found lines");

  const auto json = write(folder / "a.jsonl", "{\"text\": \"x\"}\n{\"id\": 1, \"body\": \"y\"}\n");
  const std::string advice = ": name the key of the text with --key, or use --skip-bad-lines";
  EXPECT_EQ(read_error(json),
            json.string() + ":2: no key \"text\"; the object has: id, body" + advice);
  EXPECT_EQ(documents(json, "auto", {.key = "text", .skip_bad_lines = true}), Documents{"x"});
  EXPECT_EQ(read_error(json, {.key = "id", .skip_bad_lines = false}),
            json.string() + ":1: no key \"id\"; the object has: text" + advice);
  EXPECT_EQ(read_error(write(folder / "b.jsonl", "\n{\"text\": 7}")),
            (folder / "b.jsonl").string() + ":2: expected a string under \"text\", found a number" +
                advice);
  EXPECT_CONTAINS(read_error(write(folder / "c.jsonl", "{\"text\": ")), ":1: not valid JSON");
  EXPECT_CONTAINS(read_error(write(folder / "d.jsonl", "[1]")),
                  ":1: expected a JSON object, found a list");

  const auto cut = write_gzip(folder / "cut.txt.gz", long_text(100000, "some text 123 "));
  std::filesystem::resize_file(cut, std::filesystem::file_size(cut) - 20);
  EXPECT_EQ(read_error(cut), cut.string() + ": damaged gzip file: truncated");
  const auto flipped = write_gzip(folder / "flipped.txt.gz", long_text(100000, "some text 123 "));
  test::patch(flipped, std::filesystem::file_size(flipped) - 8, "\x01\x02\x03\x04");
  EXPECT_CONTAINS(read_error(flipped), flipped.string() + ": damaged gzip file: ");
}

// Each byte is a token; 256 ends a document.
class ByteTokenizer final : public Tokenizer {
 public:
  using Tokenizer::encode;
  void encode(std::string_view text, std::vector<std::int32_t>& ids, bool) const override {
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  }
  std::string decode(std::span<const std::int32_t>) const override { return ""; }
  TokenizerIdentity identity() const override { return {"bytes", "0", vocab_size()}; }
  std::int64_t vocab_size() const override { return 257; }
  std::int32_t bos_id() const override { return -1; }
  std::int32_t eos_id() const override { return 256; }
  std::int32_t eod_id() const override { return 256; }
};

TEST(TokenizeCorpus, DoesNotDependOnThreads) {
  const auto folder = scratch_folder();
  std::string lines;
  for (int i = 0; i < 200000; ++i) lines += fmt::format("line {} {}\n", i, i * 37 % 1000);
  write(folder / "a.txt", lines);
  write(folder / "b.jsonl", "{\"text\": \"json\"}\n");
  write(folder / "c.txt", long_text(3000000, "long document "));
  const auto run = [&](int threads) {
    CorpusTokenizerOptions options;
    options.files = find_corpus_files({folder.string()}, "auto");
    options.files.front().format = CorpusFormat::text_line;
    options.output = (folder / fmt::format("out{}", threads)).string();
    options.threads = threads;
    std::int64_t seen = 0;
    const auto done =
        tokenize_corpus(ByteTokenizer(), options, [&](const CorpusProgress& progress) {
          EXPECT_GT(progress.text_bytes, seen);
          EXPECT_LE(progress.bytes_on_disk, progress.total_bytes);
          seen = progress.text_bytes;
        });
    EXPECT_EQ(done.documents, 200002);
    return options.output;
  };
  const std::string one = run(1);
  const std::string four = run(4);
  EXPECT_EQ(read_text_file(one + ".bin"), read_text_file(four + ".bin"));
  EXPECT_EQ(read_text_file(one + ".idx"), read_text_file(four + ".idx"));
  const auto datasets = open_token_datasets(one, 257);
  datasets.front()->verify();
  std::vector<std::int32_t> tokens(12);
  datasets.front()->read(0, tokens);
  EXPECT_EQ(tokens, (std::vector<std::int32_t>{'l', 'i', 'n', 'e', ' ', '0', ' ', '0', 256, 'l',
                                               'i', 'n'}));
  EXPECT_EQ(datasets.front()->document_start_from(1), 9);
}

TEST(TokenizeCorpus, LeavesNothingAfterAnErrorOrAStop) {
  const auto folder = scratch_folder();
  CorpusTokenizerOptions options;
  options.output = (folder / "out" / "x").string();
  options.files = find_corpus_files(
      {write(folder / "a.txt", long_text(5000000, "words ")), write(folder / "b.jsonl", "{}")},
      "auto");
  EXPECT_CONTAINS(message_of<FormatError>(
                      [&] { tokenize_corpus(ByteTokenizer(), options, [](const auto&) {}); }),
                  "b.jsonl:1: no key \"text\"; the object has: none");
  EXPECT_TRUE(std::filesystem::is_empty(folder / "out"));

  std::atomic<bool> stop = false;
  options.files.pop_back();
  options.stop = &stop;
  EXPECT_CONTAINS(message_of<Error>([&] {
                    tokenize_corpus(ByteTokenizer(), options, [&](const auto&) { stop = true; });
                  }),
                  "stopped; nothing was written");
  EXPECT_TRUE(std::filesystem::is_empty(folder / "out"));

  options.stop = nullptr;
  options.files = find_corpus_files({write(folder / "blank.jsonl", "\n\n")}, "auto");
  EXPECT_CONTAINS(message_of<FormatError>(
                      [&] { tokenize_corpus(ByteTokenizer(), options, [](const auto&) {}); }),
                  "no text in the input");
  EXPECT_TRUE(std::filesystem::is_empty(folder / "out"));
}

}  // namespace
}  // namespace gda
