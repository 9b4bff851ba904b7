// What a file is, told by its content, and what becomes of folders and streams.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <zlib.h>

#include <thread>

#include "data/json_text.h"
#include "data/scratch.h"
#include "gda/data/corpus.h"

namespace gda {
namespace {
namespace fs = std::filesystem;
using namespace std::string_literals;
using test::message_of;
using test::scratch_folder;
using Documents = std::vector<std::string>;

fs::path put(const fs::path& path, std::string_view text) {
  make_directories(path.parent_path());
  write_text_file_atomically(path, text);
  return path;
}

std::string gzipped(const std::string& text) {
  const fs::path path = scratch_folder() / "x";
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
  return read_text_file(path);
}

Documents read_documents(const fs::path& path, std::string_view format = "auto",
                         const JsonlOptions& options = {}, CorpusDoubts* doubts = nullptr) {
  CorpusReader reader(find_corpus_files({path.string()}, format));
  Documents found;
  TextChunk chunk;
  CorpusDoubts all;
  while (reader.next(chunk)) {
    all.add(for_each_document(chunk, reader.files()[chunk.file], options,
                              [&](const DocumentPiece& piece) {
                                if (!piece.continues) found.emplace_back();
                                found.back() += piece.text;
                              }));
  }
  if (doubts != nullptr) *doubts = all;
  return found;
}

std::string refusal(const fs::path& path) {
  return message_of<FormatError>([&] { read_documents(path); });
}

const std::string kLines = "{\"text\": \"one\"}\n{\"text\": \"two\"}\n";
const Documents kTwo{"one", "two"};

TEST(Content, TellsJsonLinesWhateverTheName) {
  const fs::path folder = scratch_folder();
  for (const char* name : {"a.jsonl", "A.JSONL", "a.ndjson", "c4-train.00000-of-01024.json",
                           "part-00000", "a.txt", "a.json.gz", "a.gz"}) {
    EXPECT_EQ(read_documents(put(folder / name, kLines)), kTwo) << name;
    EXPECT_EQ(read_documents(put(folder / name, gzipped(kLines))), kTwo) << name;
    EXPECT_EQ(read_documents(put(folder / name, "\xEF\xBB\xBF" + kLines)), kTwo) << name;
  }
  // One line, longer than what is looked at.
  const std::string text(200000, 'x');
  EXPECT_EQ(read_documents(put(folder / "long.json", "{\"text\": \"" + text + "\"}")),
            Documents{text});
  EXPECT_EQ(read_documents(put(folder / "a.txt", kLines), "text-file"), Documents{kLines});
  // Begins like JSON, and is none.
  for (const char* prose : {"{a} is a set\n", "[INST] x [/INST]", "{\"a\": 1}\nis JSON\n"}) {
    EXPECT_EQ(read_documents(put(folder / "p.txt", prose)), Documents{prose});
  }
}

TEST(Content, RefusesWhatIsNoTextByName) {
  const fs::path folder = scratch_folder();
  const auto expect = [&](const std::string& name, const std::string& bytes,
                          const std::string& words) {
    const fs::path path = put(folder / name, bytes);
    const std::string message = refusal(path);
    EXPECT_EQ(message.rfind(path.string() + ": ", 0), 0U) << message;
    EXPECT_CONTAINS(message, words);
  };
  const std::string binary("\0\1\2\xFF\xFE\x80", 6);
  expect("a.jsonl.zst", "\x28\xB5\x2F\xFD" + binary, "Zstandard; unpack it: zstd -dc ");
  expect("a.txt", "\xFD\x37zXZ\0"s + binary, "compressed with xz");
  expect("b.txt", "BZh91AY&SY" + binary, "compressed with bzip2");
  expect("a.zip", "PK\x03\x04" + binary, "a zip archive; unpack it: unzip -p");
  expect("a.docx", "PK\x03\x04" + binary, "a zip archive under the extension .docx; write it as");
  expect("lfs.json.gz", "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n",
         "a pointer of Git LFS, not the file itself; fetch the file: git lfs pull");
  expect("cc.warc.wet.gz", gzipped("WARC/1.0\r\nWARC-Type: warcinfo\r\n"), "a WARC archive");
  expect("a.parquet", "PAR1" + binary, "a Parquet table");
  expect("a.png", "\x89PNG\r\n\x1A\n" + binary, "an image");
  expect("a.pdf", "%PDF-1.7\n" + binary, "a PDF document");
  expect("a.tar", std::string("a.txt").append(252, '\0') + "ustar" + binary, "a tar archive");
  expect("t.json.gz", gzipped(std::string("a.txt").append(252, '\0') + "ustar"), "a tar archive");
  expect("g.gz.gz", gzipped(gzipped("text")), "compressed twice");
  expect("any", binary, "no text in UTF-8");
  expect("u.txt", "\xFF\xFEh\0i\0"s, "text in UTF-16; convert it: iconv -f UTF-16 -t UTF-8");
  expect("v.txt", "h\0i\0 \0t\0o\0"s, "text in UTF-16LE");
  expect("w.txt.gz", gzipped("\xFF\xFEh\0i\0"s),
         "zcat " + (folder / "w.txt.gz").string() + " | iconv -f UTF-16 -t UTF-8 | gda ");
  expect("l.txt", "caf\xE9 au lait", "no text in UTF-8: 1 of its first 12 bytes");
  expect("a.json", "[\n  {\"text\": \"x\"},\n  {\"text\": \"y\"}\n]\n", "jq -c '.[]' ");
  expect("b.json", "{\n  \"text\": \"x\"\n}\n", "over several lines; make lines of it: jq -c . ");
  expect("c.json", "no JSON at all", "no JSON objects, as its name says");
  expect("it's a.zst", "\x28\xB5\x2F\xFD" + binary, "/it'\\''s a.zst' | gda ... --input -");
  // Words that files of such formats begin with may begin a text.
  for (const char* prose : {"BZh is bzip2", "PAR1 is Parquet", "ORC and elf", "GIF89a"}) {
    EXPECT_EQ(read_documents(put(folder / "p.txt", prose)), Documents{prose});
  }
}

TEST(Content, ReadsGzipToItsEnd) {
  const fs::path folder = scratch_folder();
  const auto name = [&](const std::string& bytes) { return put(folder / "a.txt.gz", bytes); };
  EXPECT_EQ(read_documents(name(gzipped("one ") + gzipped("") + gzipped("two"))),
            Documents{"one two"});
  EXPECT_EQ(read_documents(name(gzipped("one") + std::string(700, '\0'))), Documents{"one"});
  EXPECT_CONTAINS(refusal(name(gzipped("one") + "two")),
                  "damaged gzip file: other bytes follow the compressed ones at byte 23");
  EXPECT_EQ(read_documents(name("plain")), Documents{"plain"});
}

TEST(Content, KeepsOddBytesAndSaysSo) {
  const fs::path folder = scratch_folder();
  std::string text;
  while (text.size() < 100000) text += "plain words ";
  CorpusDoubts doubts;
  EXPECT_EQ(read_documents(put(folder / "a.txt", text + "\xE9\x01"), "auto", {}, &doubts),
            Documents{text + "\xE9\x01"});
  EXPECT_EQ(doubts.odd_bytes, 2);
  EXPECT_EQ(doubts.odd_file, (folder / "a.txt").string());
}

TEST(Content, ByteOrderMarksBelongToNoDocument) {
  const fs::path folder = scratch_folder();
  const std::string mark = "\xEF\xBB\xBF";
  EXPECT_EQ(read_documents(put(folder / "a.txt", mark + "one")), Documents{"one"});
  // Files with marks, one behind the other.
  EXPECT_EQ(read_documents(put(folder / "b.txt", mark + "one\n" + mark + "two\n"), "text-line"),
            kTwo);
  EXPECT_EQ(read_documents(put(folder / "c.jsonl", mark + kLines + mark + kLines)).size(), 4U);
  EXPECT_EQ(read_documents(put(folder / "d.jsonl", "{\"text\": \"\\ufeffone\"}")),
            Documents{"one"});
}

TEST(Content, FoldersTellWhatIsLeftOut) {
  const fs::path folder = scratch_folder();
  const fs::path elsewhere = scratch_folder();
  for (const char* name : {"a.jsonl", "b.json", "E.JSONL", "sub/part-00001"}) {
    put(folder / name, kLines);
  }
  put(folder / "c.json.gz", gzipped(kLines));
  put(folder / "F.TXT", "text");
  put(folder / "d.jsonl.zst", "\x28\xB5\x2F\xFD");
  put(folder / "run.py", "print()");
  put(folder / "empty.txt", "");
  put(folder / ".git/config", "text");
  put(elsewhere / "x.md", "linked");
  fs::create_directory_symlink(elsewhere, folder / "linked");
  fs::create_directory_symlink(folder, folder / "sub/loop");
  fs::create_symlink(folder / "a.jsonl", folder / "same.jsonl");
  fs::create_symlink("/nonexistent", folder / "gone.txt");
  const Corpus corpus = find_corpus({folder.string()}, "auto");
  std::vector<std::string> read;
  for (const CorpusFile& file : corpus.files) {
    read.push_back(file.path.lexically_relative(folder).string());
    EXPECT_EQ(file.format == CorpusFormat::text_file,
              read.back() == "F.TXT" || read.back() == "linked/x.md");
  }
  EXPECT_EQ(read, (std::vector<std::string>{"E.JSONL", "F.TXT", "a.jsonl", "b.json", "c.json.gz",
                                            "linked/x.md", "sub/part-00001"}));
  std::map<std::string, std::string> left_out;
  for (const LeftOut& out : corpus.left_out) {
    left_out[out.path.lexically_relative(folder).string()] = out.why;
  }
  EXPECT_EQ(left_out.size(), 7U);
  EXPECT_EQ(left_out[".git"], "hidden");
  EXPECT_CONTAINS(left_out["d.jsonl.zst"], "compressed with Zstandard");
  EXPECT_CONTAINS(left_out["run.py"], "text under the extension .py");
  EXPECT_EQ(left_out["empty.txt"], "empty");
  EXPECT_EQ(left_out["gone.txt"], "a link to nothing");
  EXPECT_CONTAINS(left_out["same.jsonl"], "the same as " + (folder / "a.jsonl").string());
  EXPECT_TRUE(left_out.contains("sub/loop"));
  EXPECT_EQ(read_documents(folder / "run.py"), Documents{"print()"});

  const fs::path other = scratch_folder();
  put(other / "a.zst", "\x28\xB5\x2F\xFD");
  EXPECT_CONTAINS(message_of<IoError>([&] { find_corpus({other.string()}, "auto"); }),
                  "no text in folder " + other.string() +
                      "; not read: " + (other / "a.zst").string() + ": compressed with Zstandard");
  EXPECT_CONTAINS(
      message_of<FormatError>([&] { find_corpus({(folder / "empty.txt").string()}, "auto"); }),
      "no text in the input; not read: " + (folder / "empty.txt").string() + ": empty");
}

TEST(Content, ReadsPipes) {
  const fs::path pipe = scratch_folder() / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const auto piped = [&](const std::string& bytes) {
    std::thread writer([&] {
      FileWriter out(pipe);
      // In pieces, so that the first does not tell what it is.
      out.write(std::string_view(bytes).substr(0, 1));
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      out.write(std::string_view(bytes).substr(1));
    });
    Documents found;
    std::string error;
    try {
      found = read_documents(pipe);
    } catch (const FormatError& caught) {
      error = caught.what();
    }
    writer.join();
    return std::pair(found, error);
  };
  EXPECT_EQ(piped(kLines).first, kTwo);
  EXPECT_EQ(piped(gzipped(kLines)).first, kTwo);
  EXPECT_EQ(piped("plain\ntext").first, Documents{"plain\ntext"});
  EXPECT_CONTAINS(piped("\x28\xB5\x2F\xFD").second, pipe.string() + ": compressed with Zstandard");
  EXPECT_CONTAINS(message_of<ConfigError>([&] {
                    find_corpus({pipe, pipe}, "auto");
                  }),
                  "is given twice, but can be read once");
}

TEST(Content, AWaitForAPipeCanBeGivenUp) {
  const fs::path pipe = scratch_folder() / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::atomic<bool> give_up = false;
  std::atomic<bool> given_up = false;
  std::thread opener([&] {
    const FileWriter silent(pipe);
    while (!given_up) std::this_thread::yield();
  });
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    give_up = true;
  });
  CorpusReader reader(find_corpus_files({pipe.string()}, "auto"), &give_up);
  TextChunk chunk;
  EXPECT_EQ(message_of<Error>([&] { reader.next(chunk); }), "stopped");
  given_up = true;
  later.join();
  opener.join();
}

TEST(JsonText, TakesTheTextWhateverTheRestIs) {
  for (const char* line : {
           R"({"text": "x", "score": NaN})",
           R"({"score": -Infinity, "text": "x"})",
           R"({"a": [Infinity, {"b": NaN, "c": [[]]}], "text": "x"})",
           R"({"meta": {"text": "y", "text": 1}, "text": "x"})",
           R"({"a": 1, "a": 2, "text": "x"})",
           R"({"n": 1e999, "m": 123456789012345678901234567890, "text": "x"})",
           R"({"surrogate": "\ud800", "text": "x"})",
           "{\"latin\": \"caf\xE9\", \"caf\xE9\": 1, \"text\": \"x\"}",
           "{\"tab\": \"a\tb\", \"text\": \"x\"}",
           "\t {\"text\":\"x\"} \r\n",
           R"({"text": "\u0078"})",
       }) {
    const JsonText found = find_json_text(line, "text");
    EXPECT_EQ(found.text, "x") << line;
    EXPECT_EQ(found.problem, "") << line;
  }
  const std::string deep =
      "{\"a\": " + std::string(100000, '[') + std::string(100000, ']') + ", \"text\": \"x\"}";
  EXPECT_EQ(find_json_text(deep, "text").text, "x");
  EXPECT_EQ(find_json_text(R"({"text": "\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00"})", "text").text,
            "\"\\/\b\f\n\r\t\xC3\xA9\xF0\x9F\x98\x80");
  EXPECT_EQ(find_json_text(R"({"t\u0065xt": "x"})", "text").text, "x");
}

TEST(JsonText, FollowsPaths) {
  const std::string line =
      R"({"id": 1, "doc": {"text": "x", "a/b": {"~": "y"}}, "turns": [{"say": "z"}], "a.b": "dot"})";
  const auto text = [&](const char* key) { return find_json_text(line, key).text; };
  const auto problem = [&](const char* key) { return find_json_text(line, key).problem; };
  EXPECT_EQ(text("doc.text"), "x");
  EXPECT_EQ(text("/doc/text"), "x");
  EXPECT_EQ(text("/doc/a~1b/~0"), "y");
  EXPECT_EQ(text("turns.0.say"), "z");
  EXPECT_EQ(text("a.b"), "dot");
  EXPECT_EQ(problem("doc.body"), "no key \"doc.body\"; \"doc\" has: text, a/b");
  EXPECT_EQ(problem("id.text"), "no key \"id.text\": \"id\" is a number");
  EXPECT_EQ(problem("doc"), "expected a string under \"doc\", found an object");
}

TEST(JsonText, SaysWhatIsNoJson) {
  const auto problem = [](const char* line) { return find_json_text(line, "text").problem; };
  EXPECT_EQ(problem(R"({"text": "x",})"), "not valid JSON: a comma before } (column 13)");
  EXPECT_EQ(problem(R"({"a": [1,], "text": "x"})"), "not valid JSON: a comma before ] (column 9)");
  EXPECT_EQ(problem(R"({"text": "x"},)"), "not valid JSON: , follows the value (column 14)");
  EXPECT_EQ(problem(R"({"text": "x"}{"text": "y"})"),
            "not valid JSON: { follows the value (column 14)");
  EXPECT_EQ(problem(R"({"text": "x")"),
            "not valid JSON: expected a comma or }, but the line ends (column 13)");
  EXPECT_EQ(problem(R"({"a": nan, "text": "x"})"), "not valid JSON: nan is no value (column 7)");
  EXPECT_EQ(problem(R"({"a": 01, "text": "x"})"), "not valid JSON: 01 is no value (column 7)");
  EXPECT_EQ(problem(R"({'text': "x"})"),
            "not valid JSON: expected a key in double quotes, found ' (column 2)");
  EXPECT_EQ(problem(R"({"text": "\ud83d"})"),
            "not valid JSON: \\ud83d is half of a character (column 11)");
  EXPECT_EQ(problem("{\"text\": \"caf\xE9\"}"),
            "not valid JSON: the text is not UTF-8 (column 14)");
  EXPECT_EQ(problem(R"({"text": "x", "text": "y"})"), "two keys \"text\" in one object");
  EXPECT_EQ(problem(R"({"text": null})"), "expected a string under \"text\", found null");
  EXPECT_EQ(problem(R"(["x"])"), "expected a JSON object, found a list");
}

TEST(JsonText, BadLinesAreCountedAndPlaced) {
  const fs::path path = scratch_folder() / "a.jsonl";
  std::string lines = "{\"text\": \"x\"}\n{\"text\": \"\"}\n";
  for (int i = 0; i < 7; ++i) lines += "{bad\n";
  CorpusDoubts doubts;
  EXPECT_EQ(read_documents(put(path, lines), "auto", {.skip_bad_lines = true}, &doubts),
            Documents{"x"});
  EXPECT_EQ(doubts.skipped_lines, 7);
  EXPECT_EQ(doubts.empty_documents, 1);
  ASSERT_EQ(doubts.skipped_places.size(), 5U);
  EXPECT_EQ(
      doubts.skipped_places[0],
      path.string() + ":3: not valid JSON: expected a key in double quotes, found b (column 2)");
}

}  // namespace
}  // namespace gda
